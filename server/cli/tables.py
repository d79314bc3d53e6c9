"""Plain tables: columns that line up and are never folded, so that programs can read them, too."""

from collections.abc import Collection, Sequence

GAP = "  "


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
