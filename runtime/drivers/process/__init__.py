"""Local process groups: real execution without an engine. The image is ignored."""

from .driver import ProcessDriver
from .mounts import check_target

__all__ = ["ProcessDriver", "check_target"]
