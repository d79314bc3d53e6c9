"""`homeport reservation`."""

from pathlib import Path

import click

from .client import NAME, Number, ask, data_dir_of, data_dir_option

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
def add_reservation(data_dir: Path | None, name: str, node_group: str, nodes: int, hours: float) -> None:
    """Reserve nodes from now on."""
    body = {"name": name, "node_group": node_group, "nodes": nodes, "lasts_s": int(hours * 3600)}
    made = ask(data_dir_of(data_dir), "reservations", body=body)
    click.echo(f"{made['id']} holds {', '.join(made['nodes'])} for {hours:g} hours")


@reservation.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_reservation(data_dir: Path | None, name: str) -> None:
    """Give the nodes back to everybody."""
    from urllib.parse import quote

    ask(data_dir_of(data_dir), f"reservations/{quote(name, safe='')}", method="DELETE")
