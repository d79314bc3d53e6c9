"""
What is served of each dialect, as /homeport/coverage and as a page.

`python -m homeport.server.api.coverage > docs/coverage.md` prints the page: every operation of the
clients, and the test that observes it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .lepton.operations import OPERATIONS as LEPTON
from .runai.operations import OPERATIONS as RUNAI


class Operation(Protocol):
    """As each dialect's table has it. `test` None: it is answered with a typed 501."""

    @property
    def area(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def test(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """`name`: for people. `key`: in JSON."""

    key: str
    name: str
    operations: tuple[Operation, ...]

    @property
    def served(self) -> int:
        return sum(o.test is not None for o in self.operations)


DIALECTS = (Dialect("lepton", "Lepton", LEPTON), Dialect("runai", "Run:ai", RUNAI))


def to_wire(refused: Mapping[str, Counter[str]]) -> dict[str, Any]:
    """
    Args:
        refused: by dialect, how often what is not served was asked for since the server began.
    """
    return {
        d.key: {
            "served": d.served,
            "of": len(d.operations),
            "refused": dict(refused.get(d.key, Counter())),
            "operations": [
                {"area": o.area, "method": o.method, "path": o.path, "test": o.test} for o in d.operations
            ],
        }
        for d in DIALECTS
    }


def page() -> str:
    lines = ["# Coverage", ""]
    for dialect in DIALECTS:
        lines += [f"{dialect.name}: {dialect.served} of {len(dialect.operations)} operations are served.", ""]
    for dialect in DIALECTS:
        lines += [f"## {dialect.name}", "", "| area | method | path | test |", "|---|---|---|---|"]
        lines += [*_rows(dialect.operations), ""]
    return "\n".join(lines)


def _rows(operations: Iterable[Operation]) -> list[str]:
    return [f"| {o.area} | {o.method} | `{o.path or '/'}` | {o.test or '501'} |" for o in operations]


if __name__ == "__main__":
    print(page(), end="")
