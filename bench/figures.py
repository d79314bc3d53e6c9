"""What a bench answers: figures beside what they are compared with, and a table of them."""

import json
import math
import os
import signal
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn, TypeVar

T = TypeVar("T")
COLUMNS = ("what", "homeport", "beside", "ratio", "goal", "", "compared with")


@dataclass(frozen=True, slots=True)
class Figure:
    """
    Args:
        ours, theirs: medians in `unit`; theirs is None where a number stands alone.
        than: what `theirs` is of.
        most, least: the goal for the ratio; for `ours` itself where `is_absolute`.
    """

    what: str
    ours: float
    unit: str
    theirs: float | None = None
    than: str = ""
    most: float | None = None
    least: float | None = None
    is_absolute: bool = False

    @property
    def ratio(self) -> float | None:
        return self.ours / self.theirs if self.theirs else None

    @property
    def is_met(self) -> bool | None:
        """None where there is no goal."""
        judged = self.ours if self.is_absolute else self.ratio
        if judged is None or (self.most is None and self.least is None):
            return None
        return (self.most is None or judged <= self.most) and (self.least is None or judged >= self.least)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0..1) of them do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def take_turns(rounds: int, *sides: Callable[[], T]) -> list[list[T]]:
    """What each side gave. They take turns, so what disturbs the machine disturbs all of them."""
    found: list[list[T]] = [[] for _ in sides]
    for number in range(rounds):
        turn = list(zip(sides, found, strict=True))
        for side, values in reversed(turn) if number % 2 else turn:
            values.append(side())
    return found


def alternate(rounds: int, *sides: Callable[[], float]) -> list[float]:
    """The median of each side."""
    return [median(values) for values in take_turns(rounds, *sides)]


def table(figures: Sequence[Figure]) -> str:
    rows = [COLUMNS, *(_row(f) for f in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines: list[str] = []
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        padded = [cell.rjust(width) if 0 < i < 5 else cell.ljust(width) for i, (cell, width) in cells]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _row(f: Figure) -> tuple[str, ...]:
    sign, bound = ("<=", f.most) if f.most is not None else (">=", f.least)
    unit = f" {f.unit}" if f.is_absolute else "x"
    return (
        f.what,
        f"{_number(f.ours)} {f.unit}",
        "" if f.theirs is None else f"{_number(f.theirs)} {f.unit}",
        "" if f.ratio is None else f"{f.ratio:.2f}x",
        "" if bound is None else f"{sign} {_number(bound)}{unit}",
        {None: "", True: "met", False: "MISSED"}[f.is_met],
        f.than,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _leave(_signal: int, _frame: object) -> NoReturn:
    sys.exit(143)  # as an exception, so that every clean-up runs


def show(measures: Sequence[Callable[[], list[Figure]]], flags: Sequence[str]) -> NoReturn:
    """
    Runs the measures and leaves: `--json` prints one array of objects, `--check` makes
    a missed goal an exit status of 1.
    """
    signal.signal(signal.SIGTERM, _leave)
    if unknown := set(flags) - {"--json", "--check"}:
        sys.exit(f"unknown: {' '.join(sorted(unknown))}; there are --json and --check")
    found: list[Figure] = []
    for measure in measures:
        figures = measure()
        found += figures
        if "--json" not in flags:
            print(table(figures), end="\n\n", flush=True)
    if "--json" in flags:
        print(json.dumps([asdict(f) | {"ratio": f.ratio, "is_met": f.is_met} for f in found], indent=1))
    else:
        print("load average: " + ", ".join(f"{x:.1f}" for x in os.getloadavg()))
    sys.exit("--check" in flags and any(f.is_met is False for f in found))
