"""Worlds: what a seed file declares, and how it is written."""

from .model import World, load_world

__all__ = ["World", "load_world"]
