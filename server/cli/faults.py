"""`homeport fault`."""

from pathlib import Path
from typing import Any

import click

from .client import NAME, ask, data_dir_of, data_dir_option
from .tables import json_option, moment, show_list

OWN_COLUMN = ("id", "kind", "added_at_ms")  # of the list
message_option = click.option("--message", default="", help="What the engine says of it.")


@click.group(short_help="Break something on purpose.")
def fault() -> None:
    """Break something on purpose: on the simulated runtime, or with --testing."""


@fault.group("add")
def add_fault() -> None:
    """Break something from now on, until it is cleared."""


def _add(data_dir: Path | None, **body: Any) -> None:
    made = ask(data_dir_of(data_dir), "faults", body=body)
    click.echo(f"{made['id']} is in force; end it with `homeport fault clear {made['id']}`")


@add_fault.command("node-down")
@data_dir_option
@message_option
@click.argument("node")
def add_node_down(data_dir: Path | None, node: str, message: str) -> None:
    """A simulated node is gone; what ran there is lost, and starts elsewhere."""
    _add(data_dir, kind="node-down", node=node, message=message)


@add_fault.command("gpu-xid")
@data_dir_option
@message_option
@click.argument("node")
@click.argument("gpu")
@click.argument("code", type=click.IntRange(1, 10_000))
def add_xid(data_dir: Path | None, node: str, gpu: str, code: int, message: str) -> None:
    """A GPU (its place on the node from 0, or its UUID) reports this Xid."""
    _add(data_dir, kind="gpu-xid", node=node, gpu=gpu, code=code, message=message)


@add_fault.command("gpu-lost")
@data_dir_option
@message_option
@click.argument("node")
@click.argument("gpu")
def add_lost(data_dir: Path | None, node: str, gpu: str, message: str) -> None:
    """A GPU has fallen off its bus."""
    _add(data_dir, kind="gpu-lost", node=node, gpu=gpu, message=message)


@add_fault.command("gpu-ecc")
@data_dir_option
@message_option
@click.argument("node")
@click.argument("gpu")
@click.option("--errors", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many.")
def add_ecc(data_dir: Path | None, node: str, gpu: str, errors: int, message: str) -> None:
    """Its memory has errors that cannot be corrected."""
    _add(data_dir, kind="gpu-ecc", node=node, gpu=gpu, code=errors, message=message)


@add_fault.command("gpu-throttle")
@data_dir_option
@message_option
@click.argument("node")
@click.argument("gpu")
def add_throttle(data_dir: Path | None, node: str, gpu: str, message: str) -> None:
    """Its hardware slows it down."""
    _add(data_dir, kind="gpu-throttle", node=node, gpu=gpu, message=message)


@add_fault.command("image-pull")
@data_dir_option
@message_option
@click.argument("image")
def add_image_pull(data_dir: Path | None, image: str, message: str) -> None:
    """Images of this pattern (`nvcr.io/*`) cannot be pulled."""
    _add(data_dir, kind="image-pull", image=image, message=message)


@add_fault.command("engine-hang")
@data_dir_option
@message_option
def add_hang(data_dir: Path | None, message: str) -> None:
    """The engine takes requests and does not answer."""
    _add(data_dir, kind="engine-hang", message=message)


@add_fault.command("engine-down")
@data_dir_option
@message_option
def add_down(data_dir: Path | None, message: str) -> None:
    """The engine refuses connections."""
    _add(data_dir, kind="engine-down", message=message)


@fault.command("list")
@data_dir_option
@json_option
def list_faults(data_dir: Path | None, as_json: bool) -> None:
    """Faults in force; times are UTC."""
    show_list(
        ask(data_dir_of(data_dir), "faults"),
        ("ID", "KIND", "WHAT", "ADDED"),
        lambda f: [
            f["id"], f["kind"],
            " ".join(f"{name}={value}" for name, value in f.items() if name not in OWN_COLUMN),
            moment(f["added_at_ms"]),
        ],
        nothing="no faults are in force",
        as_json=as_json,
    )  # fmt: skip


@fault.command("clear")
@data_dir_option
@click.argument("fault_id", metavar="[ID]", required=False, type=NAME)
@click.option("--all", "everything", is_flag=True, help="All that are in force.")
def clear_faults(data_dir: Path | None, fault_id: str | None, everything: bool) -> None:
    """End one fault, or all."""
    from urllib.parse import quote

    if (fault_id is None) != everything:
        raise click.UsageError("name one fault, or give --all")
    path = "faults" if fault_id is None else f"faults/{quote(fault_id, safe='')}"
    for one in ask(data_dir_of(data_dir), path, method="DELETE"):
        click.echo(f"{one['id']} is over")
