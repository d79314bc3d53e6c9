"""`homeport reservation`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .client import NAME, Number, ask, data_dir_of, data_dir_option
from .tables import json_option, moment, show_list

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_HOURS = 10 * 365 * 24


@click.group(short_help="Keep nodes for some people, for a time.")
def reservation() -> None:
    """Keep nodes for those who name the reservation (`lep job create --with-reservation`)."""


@reservation.command("add")
@data_dir_option
@click.argument("name")
@click.option("--node-group", default="default", show_default=True, help="Whose nodes; a node pool.")
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option(
    "--hours", type=Number(0, LONGEST_HOURS, min_open=True), default=24.0, show_default=True, help="How long."
)
@click.option("--from", "from_", type=click.DateTime(), help="In UTC; from now on unless given.")
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME",
    help="A person (as in `homeport token list`) or workspace who may use it. May be repeated; everybody "
    "unless given.",
)
def add_reservation(
    data_dir: Path | None,
    name: str,
    node_group: str,
    nodes: int,
    hours: float,
    from_: "datetime | None",
    users: tuple[str, ...],
) -> None:
    """Reserve nodes for a time."""
    from datetime import UTC

    body: dict[str, object] = {
        "name": name,
        "node_group": node_group,
        "nodes": nodes,
        "lasts_s": int(hours * 3600),
        "users": users,
    }
    if from_ is not None:
        body["starts_at"] = int(from_.replace(tzinfo=UTC).timestamp())
    made = ask(data_dir_of(data_dir), "reservations", body=body)
    who = f" and is for {', '.join(users)}" if users else ""
    start = f" from {from_:%Y-%m-%d %H:%M} UTC" if from_ else ""
    click.echo(f"{made['id']} holds {', '.join(made['nodes'])}{start} for {hours:g} h{who}")
    for name in made["unknown_users"]:
        click.echo(
            f"Nobody is called {name!r} yet: no token and no project has that name (`homeport token list`, "
            f"`homeport project list`); `homeport token create {name}` makes a token.",
            err=True,
        )


@reservation.command("list")
@data_dir_option
@json_option
def list_reservations(data_dir: Path | None, as_json: bool) -> None:
    """What is reserved, for whom and until when; times are UTC."""
    show_list(
        ask(data_dir_of(data_dir), "reservations"),
        ("ID", "PHASE", "FROM", "UNTIL", "NODES", "FOR"),
        lambda r: [
            r["id"], r["phase"], moment(r["starts_at_ms"]), moment(r["ends_at_ms"]),
            ", ".join(r["nodes"]), ", ".join(r["users"]) or "everybody",
        ],
        nothing="no reservations; `homeport reservation add` makes one",
        as_json=as_json,
    )  # fmt: skip


@reservation.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_reservation(data_dir: Path | None, name: str) -> None:
    """Give the nodes back to everybody."""
    from urllib.parse import quote

    ask(data_dir_of(data_dir), f"reservations/{quote(name, safe='')}", method="DELETE")
