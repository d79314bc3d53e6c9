"""Commands about what runs: status, logs, approve."""

import sys
from pathlib import Path

import click

from .client import NAME, ask, data_dir_of, data_dir_option, open_answer
from .tables import table


@click.command()
@data_dir_option
def status(data_dir: Path | None) -> None:
    """What runs."""
    where = data_dir_of(data_dir)
    health = ask(where, "health")
    click.echo(health["status"] + "".join(f"\n  {reason}" for reason in health["reasons"]))
    rows = ask(where, "workloads")
    if not rows:
        return
    cells = [[row[name] or "" for name in ("id", "kind", "phase", "shape", "workspace")] for row in rows]
    click.echo(table(("ID", "KIND", "PHASE", "SHAPE", "PROJECT"), cells))


@click.command()
@data_dir_option
@click.argument("name", type=NAME)
@click.option("--replica", help="Only this one's.")
@click.option("-f", "--follow", is_flag=True, help="Until it ends.")
def logs(data_dir: Path | None, name: str, replica: str | None, follow: bool) -> None:
    """The log of a workload's latest run, by name or id."""
    from urllib.parse import quote, urlencode

    query = urlencode({"follow": follow} | ({"replica": replica} if replica else {}))
    day_s = 24 * 3600.0
    path = f"logs/{quote(name, safe='')}?{query}"
    with open_answer(data_dir_of(data_dir), path, timeout_s=day_s if follow else 60) as answer:
        while piece := answer.read1(65536):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


@click.command()
@data_dir_option
@click.argument("name", type=NAME)
@click.argument("replica", required=False)
def approve(data_dir: Path | None, name: str, replica: str | None) -> None:
    """Let the replicas of an endpoint take requests that it holds back for approval."""
    from urllib.parse import quote

    answer = ask(
        data_dir_of(data_dir), f"endpoints/{quote(name, safe='')}/approve", body={"replica": replica}
    )
    click.echo("\n".join(answer["approved"]) or f"no replica of {name} runs yet")
