"""`homeport reservation`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .client import NAME, Number, ask, data_dir_of, data_dir_option

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_HOURS = 10 * 365 * 24


@click.group()
def reservation() -> None:
    """Keep nodes for those who name the reservation (`lep job create --with-reservation`)."""


@reservation.command("add")
@data_dir_option
@click.argument("name")
@click.option("--node-group", default="default", show_default=True)
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
    click.echo(f"{made['id']} holds {', '.join(made['nodes'])}{start} for {hours:g} hours{who}")


@reservation.command("list")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_reservations(data_dir: Path | None, as_json: bool) -> None:
    """What is reserved, for whom and until when; times are UTC."""
    import json
    from datetime import UTC, datetime

    rows = ask(data_dir_of(data_dir), "reservations")
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        begins, ends = (datetime.fromtimestamp(row[k] / 1000, UTC) for k in ("starts_at_ms", "ends_at_ms"))
        click.echo(
            f"{row['id']:20} {row['phase']:9} {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M}  "
            f"{', '.join(row['nodes'])}  for {', '.join(row['users']) or 'everybody'}"
        )


@reservation.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_reservation(data_dir: Path | None, name: str) -> None:
    """Give the nodes back to everybody."""
    from urllib.parse import quote

    ask(data_dir_of(data_dir), f"reservations/{quote(name, safe='')}", method="DELETE")
