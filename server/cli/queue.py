"""Commands about what waits: queue, why."""

import json
from pathlib import Path
from typing import Any

import click

from .client import NAME, ask, data_dir_of, data_dir_option
from .tables import json_option, table

NUMBERS = ("QUOTA", "LIMIT", "FAIR SHARE", "HAS", "NON-PREEMPTIBLE", "ASKS FOR")


@click.command(short_help="What waits, and what each project has.")
@data_dir_option
@json_option
@click.option(
    "--most", type=click.IntRange(0, 10_000), default=50, show_default=True, help="Lines of what waits."
)
def queue(data_dir: Path | None, as_json: bool, most: int) -> None:
    """What waits, in order and why, and what each project has of the machine."""
    answer = ask(data_dir_of(data_dir), f"queue?most={most}")
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo("\n".join(show_shares(answer["shares"])))
    click.echo()
    if not answer["count"]:
        click.echo("nothing waits")
    for line in answer["waiting"]:
        _show_line(line)
    if (more := answer["count"] - len(answer["waiting"])) > 0:
        click.echo(f"and {more} more; see --most")


def show_shares(shares: list[dict[str, Any]]) -> list[str]:
    """Lines: GPUs of all, then CPU and memory of those that have a quota or a limit of them."""
    lines = [shares_table(shares, "gpus", "GPUS OF")]
    for resource, title in (("cpu", "CPU CORES OF"), ("memory_mib", "MEMORY OF (MIB)")):
        bound = [s for s in shares if any(s[b][resource] is not None for b in ("deserved", "limit"))]
        if bound:
            lines += ["", shares_table(bound, resource, title)]
    return lines


def shares_table(shares: list[dict[str, Any]], resource: str, title: str) -> str:
    """A row for each queue and pool, with its numbers of one resource."""
    each = ("fair", "allocated", "allocated_non_preemptible", "requested")
    rows: list[list[str]] = []
    for share in shares:
        bounds = (_number(share["deserved"][resource], "all"), _number(share["limit"][resource], "none"))
        unit = share["queue"] if share["kind"] == "project" else f"{share['queue']} (department)"
        rows.append([unit, share["pool"], *bounds, *(_number(share[name][resource]) for name in each)])
    return table((title, "POOL", *NUMBERS), rows, right=NUMBERS)


def _number(value: float | None, unbounded: str = "all") -> str:
    return unbounded if value is None else f"{round(value, 4):.12g}"


def _show_line(line: dict[str, Any]) -> None:
    name = line["workload"] or "a workload"
    click.echo(
        f"{line['position']:4} {name} of {line['project']}, priority {line['priority']}: {line['wants']}"
    )
    for reason in line["reasons"]:
        click.echo(f"       {line['code']}: {reason}")
    if line["ending"]:
        click.echo(f"       makes room for it: {_names(line['ending'])}")
    elif line["would_have_to_end"]:
        click.echo(f"       would have to end: {_names(line['would_have_to_end'])}")


def _names(endings: list[dict[str, Any]]) -> str:
    return ", ".join(e["workload"] or f"a workload of {e['project']}" for e in endings)


@click.command(short_help="Why a workload is where it is.")
@data_dir_option
@json_option
@click.argument("name", type=NAME)
def why(data_dir: Path | None, as_json: bool, name: str) -> None:
    """Why a workload is where it is: what each node and each queue says to it."""
    from urllib.parse import quote

    answer = ask(data_dir_of(data_dir), f"why/{quote(name, safe='')}")
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(f"{answer['id']} is {answer['phase']}")
    for reason in answer["reasons"]:
        click.echo(f"  {reason}")
    if "line" not in answer:
        return
    line = answer["line"]
    click.echo(f"it is number {line['position']} in line ({answer['code']})")
    if line["ending"]:
        click.echo(f"  makes room for it: {_names(line['ending'])}")
    elif line["would_have_to_end"]:
        click.echo(f"  it would fit if this had ended: {_names(line['would_have_to_end'])}")
    for text in answer["explanation"]["text"]:
        click.echo(f"  {text}")
