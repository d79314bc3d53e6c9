"""Commands about what runs: status, logs, approve."""

import sys
from pathlib import Path

import click

from .client import NAME, ask, data_dir_of, data_dir_option, open_answer
from .tables import json_option, show_list


@click.command()
@data_dir_option
@json_option
def status(data_dir: Path | None, as_json: bool) -> None:
    """How the server is, and which workloads there are."""
    where = data_dir_of(data_dir)
    health, rows = ask(where, "health"), ask(where, "workloads")
    if as_json:
        import json

        click.echo(json.dumps({**health, "workloads": rows}))
        return
    click.echo(health["status"] + "".join(f"\n  {reason}" for reason in health["reasons"]))
    show_list(
        rows,
        ("ID", "KIND", "PHASE", "SHAPE", "PROJECT"),
        lambda w: [w[name] or "" for name in ("id", "kind", "phase", "shape", "workspace")],
        nothing="no workloads",
        as_json=False,
    )


@click.command(short_help="What a workload has written.")
@data_dir_option
@click.argument("name", type=NAME)
@click.option("--replica", help="Only this replica's lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
def logs(data_dir: Path | None, name: str, replica: str | None, follow: bool) -> None:
    """The log of the latest run of workload NAME, which may be its id, too."""
    from urllib.parse import quote, urlencode

    query = urlencode({"follow": follow} | ({"replica": replica} if replica else {}))
    day_s = 24 * 3600.0
    path = f"logs/{quote(name, safe='')}?{query}"
    with open_answer(data_dir_of(data_dir), path, timeout_s=day_s if follow else 60) as answer:
        while piece := answer.read1(65536):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


@click.command(short_help="Let held back replicas take requests.")
@data_dir_option
@click.argument("name", type=NAME)
@click.argument("replica", required=False)
def approve(data_dir: Path | None, name: str, replica: str | None) -> None:
    """
    Let replicas of endpoint NAME take requests: those that its `require_approval` holds back.

    All of them, unless a REPLICA is named.
    """
    from urllib.parse import quote

    answer = ask(
        data_dir_of(data_dir), f"endpoints/{quote(name, safe='')}/approve", body={"replica": replica}
    )
    click.echo("\n".join(answer["approved"]) or f"no replica of {name} runs yet")
