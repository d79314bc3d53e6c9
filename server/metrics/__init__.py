"""Figures about what runs: counted from access records, read from the machine, kept by the minute."""

from .recorder import Metrics as Metrics
