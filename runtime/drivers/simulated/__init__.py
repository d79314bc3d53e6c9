"""The runtime that executes nothing: containers are data, and rules say what becomes of them."""

from .driver import SimulatedDriver
from .rules import Answer, Rule, RuleBook, Span

__all__ = ["Answer", "Rule", "RuleBook", "SimulatedDriver", "Span"]
