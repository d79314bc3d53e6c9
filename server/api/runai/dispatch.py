"""From a path to the operation that it means: a tree of path segments, literal ones before parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from . import quirks
from .operations import Operation


@dataclass(frozen=True, slots=True)
class Match:
    """
    Args:
        methods: what this path answers, by method. values: of its parameters, from left to right.
    """

    methods: Mapping[str, Operation]
    values: tuple[str, ...]

    def params(self, operation: Operation) -> dict[str, str]:
        """By the names that this operation has for them: two methods of one path may differ."""
        return dict(zip(parameter_names(operation.path), self.values, strict=True))


@dataclass(slots=True)
class _Branch:
    literals: dict[str, _Branch] = field(default_factory=dict[str, "_Branch"])
    parameter: _Branch | None = None
    methods: dict[str, Operation] = field(default_factory=dict[str, Operation])


class Dispatch:
    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Branch()
        for operation in operations:
            branch = self._root
            for part in _parts(operation.path):
                if _is_parameter(part):
                    branch.parameter = branch.parameter or _Branch()
                    branch = branch.parameter
                else:
                    branch = branch.literals.setdefault(quirks.segment(part), _Branch())
            assert operation.method not in branch.methods, f"{operation.key} is in the table twice"
            branch.methods[operation.method] = operation

    def find(self, path: str) -> Match | None:
        """What is at that path, whatever the method; None: nothing. A literal is no parameter's value."""
        return _walk(self._root, _parts(path), ())


def _walk(branch: _Branch, parts: list[str], values: tuple[str, ...]) -> Match | None:
    if not parts:
        return Match(branch.methods, values) if branch.methods else None
    first, rest = parts[0], parts[1:]
    literal = branch.literals.get(quirks.segment(first))
    found = _walk(literal, rest, values) if literal else None
    if found is None and branch.parameter is not None:
        found = _walk(branch.parameter, rest, (*values, first))
    return found


def parameter_names(path: str) -> list[str]:
    return [part[1:-1] for part in _parts(path) if _is_parameter(part)]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _is_parameter(part: str) -> bool:
    return part.startswith("{")
