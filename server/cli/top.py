"""`homeport top`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .client import Number, ask, data_dir_of, data_dir_option

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = (
    "NAME",
    "PROJECT",
    "KIND",
    "PHASE",
    "READY",
    "QPS",
    "P50",
    "P95",
    "ERRORS",
    "CPU",
    "MEMORY",
    "GPU",
    "GPU MEM",
    "TEMP",
)
LEFT = 4  # columns of text; the rest are figures
UNKNOWN = "-"


@click.command(short_help="What runs, its traffic and what it uses.")
@data_dir_option
@click.option(
    "--once", is_flag=True, help="One plain table, and no more; so too where the output is no terminal."
)
@click.option(
    "--every", type=Number(0.5, 86400), default=2.0, show_default=True, help="Seconds between looks."
)
def top(data_dir: Path | None, once: bool, every: float) -> None:
    """What runs, what is asked of it in the last minute, and what it uses."""
    where = data_dir_of(data_dir)
    if once or not sys.stdout.isatty():
        click.echo(plain(ask(where, "top")))
        return
    import asyncio

    asyncio.run(_follow(where, every))


async def _follow(where: Path, every: float) -> None:
    import asyncio

    from rich.live import Live

    from ...runtime.clock import SystemClock

    clock = SystemClock()
    try:
        with Live(_table(ask(where, "top")), screen=True, auto_refresh=False) as live:
            while True:
                await clock.sleep(every)
                live.update(_table(await asyncio.to_thread(ask, where, "top")), refresh=True)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One for each of COLUMNS; what is not known is `-`."""
    last: Mapping[str, Any] = row.get("last_minute") or {}
    latency: Mapping[str, float | None] = last.get("latency_ms") or {}
    usage: list[Mapping[str, Any]] = row["replica_usage"]
    gpus: list[Mapping[str, Any]] = [gpu for replica in usage for gpu in replica["gpus"]]
    heat = max((gpu["temperature_c"] for gpu in gpus if gpu["temperature_c"] is not None), default=None)
    simulated = " sim" if any(gpu["simulated"] for gpu in gpus) else ""
    percent: float | None = row["gpu_percent"]
    return (
        row["id"] if row["kind"] == "job" else row["name"],  # many jobs may have one name
        row["workspace"],
        row["kind"],
        row["phase"],
        f"{row['replicas']['ready']}/{row['replicas']['wanted']}",
        f"{last['qps']:.2f}" if last else UNKNOWN,
        _ms(latency.get("p50")),
        _ms(latency.get("p95")),
        str(last["errors"]) if last else UNKNOWN,
        _figure(_sum(usage, "cpu_cores"), "{:.2f}"),
        _gib(_sum(usage, "memory_bytes")),
        UNKNOWN if percent is None else f"{percent:.0f}%{simulated}",
        _gib(_sum(gpus, "memory_used_bytes")),
        _figure(heat, "{:.0f}C"),
    )


def _sum(parts: list[Mapping[str, Any]], name: str) -> float | None:
    known = [part[name] for part in parts if part[name] is not None]
    return sum(known) if known else None


def _figure(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else form.format(value)


def _ms(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.0f}ms" if value >= 10 else f"{value:.1f}ms"


def _gib(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value / 2**30:.1f}G" if value >= 2**30 else f"{value / 2**20:.0f}M"


def _summary(answer: Mapping[str, Any]) -> str:
    gpus = answer["gpus"]
    return f"GPUs: {gpus['taken']} of {gpus['total']} taken"


def plain(answer: Mapping[str, Any]) -> str:
    """The table as lines of text, for files and pipes."""
    rows = [COLUMNS, *(cells(row) for row in answer["workloads"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if column < LEFT else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*(lines if answer["workloads"] else ["nothing runs"]), _summary(answer)])


def _table(answer: Mapping[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(box=None, caption=_summary(answer), caption_justify="left")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number < LEFT else "right", no_wrap=True)
    for row in answer["workloads"]:
        table.add_row(*cells(row))
    return table
