"""What must hold of a server at any time: its tables, containers, gateway and file, against each other."""

from .facts import Facts, Lease, facts_of
from .rules import broken, broken_steps

__all__ = ["Facts", "Lease", "broken", "broken_steps", "facts_of"]
