"""Plain tables: columns that line up and are never folded, so that programs can read them, too."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import click

GAP = "  "
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


def show_list(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    cells: Callable[[Mapping[str, Any]], Sequence[str]],
    *,
    nothing: str,
    as_json: bool,
) -> None:
    """
    Args:
        rows: as the server tells them, which is what programs are given.
        nothing: the line that is printed for people where there is none.
    """
    if as_json:
        import json

        click.echo(json.dumps(rows))
    else:
        click.echo(table(columns, [cells(row) for row in rows]) if rows else nothing)


def moment(ms: int) -> str:
    """`2026-11-01T12:00:00Z`, from milliseconds since 1970."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> str:
    """
    Args:
        rows: a cell for each column; one of several lines makes its row as high.
        right: columns whose cells end together, as numbers do.
    """
    cells = [[cell.split("\n") for cell in row] for row in (columns, *rows)]
    widths = [max(len(line) for row in cells for line in row[i]) for i in range(len(columns))]
    lines: list[str] = []
    for row in cells:
        for at in range(max(len(cell) for cell in row)):
            padded = [
                _padded(cell[at] if at < len(cell) else "", width, column in right)
                for cell, width, column in zip(row, widths, columns, strict=True)
            ]
            lines.append(GAP.join(padded).rstrip())
    return "\n".join(lines)


def _padded(text: str, width: int, is_right: bool) -> str:
    return text.rjust(width) if is_right else text.ljust(width)
