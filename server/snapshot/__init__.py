"""Nodes, org units, what lives and what waits -> scheduler.Snapshot: the only bridge between the two."""

from .asks import Ask, ask_class
from .facts import Facts
from .keeper import Keeper, Room, build
from .work import Work

__all__ = ["Ask", "Facts", "Keeper", "Room", "Work", "ask_class", "build"]
