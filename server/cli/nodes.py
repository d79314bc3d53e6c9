"""`homeport node`: nodes, their labels and taints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from .client import NAME, ask, data_dir_of, data_dir_option
from .org import json_option, path_of, print_json, show

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@click.group()
def node() -> None:
    """See nodes, and give them labels and taints."""


@node.command("list", short_help="Nodes, and what of them is taken.")
@data_dir_option
@json_option
def list_nodes(data_dir: Path | None, as_json: bool) -> None:
    """Nodes: their pool, what of their GPUs is taken, what of CPU and memory may be promised, and so on."""
    rows = ask(data_dir_of(data_dir), "nodes")
    if as_json:
        print_json(rows)
        return
    show(
        rows,
        ("NAME", "STATE", "POOL", "GPUS", "CPU CORES", "MEMORY", "RESERVATION", "LABELS", "TAINTS"),
        lambda n: [
            n["id"], n["state"], n["pool"], gpus(n), promised(n["schedulable_cpu_cores"], n["cpu_cores"]),
            promised(n["schedulable_memory_mib"] / 1024, n["memory_mib"] / 1024, " GiB"), n["reservation"],
            ", ".join(f"{k}={v}" for k, v in n["labels"].items()),
            ", ".join(_taint(t) for t in n["taints"]),
        ],
    )  # fmt: skip


def promised(schedulable: float, there: float, unit: str = "") -> str:
    """`64`; `1024 promised of 64` where more may be promised than there is."""
    if schedulable == there:
        return f"{there:.6g}{unit}"
    return f"{schedulable:.6g} promised of {there:.6g}{unit}"


def _taint(told: Mapping[str, str]) -> str:
    value = f"={told['value']}" if told["value"] else ""
    return f"{told['key']}{value}:{told['effect']}"


def gpus(told: Mapping[str, Any]) -> str:
    """`3 of 8 taken, 1 ill, simulated`."""
    if not told["gpus"]:
        return "0"
    parts = [f"{told['gpus_taken']:.4g} of {told['gpus']} taken"]
    parts += [f"{told['gpus_ill']} ill"] if told["gpus_ill"] else []
    return ", ".join([*parts, "simulated"] if told["gpus_simulated"] else parts)


@node.command("label")
@data_dir_option
@click.argument("name", type=NAME)
@click.argument("labels", nargs=-1, required=True, metavar="KEY=VALUE...")
def label_node(data_dir: Path | None, name: str, labels: tuple[str, ...]) -> None:
    """Give labels to node NAME. They stay until they are taken away, over restarts, too."""
    given: dict[str, str | None] = {}
    for label in labels:
        key, equals, value = label.partition("=")
        if not equals or key in given:
            raise click.UsageError(f"{label!r} is not of the form KEY=VALUE, or its key is there twice")
        given[key] = value
    _label(data_dir, name, given)


@node.command("unlabel")
@data_dir_option
@click.argument("name", type=NAME)
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
def unlabel_node(data_dir: Path | None, name: str, keys: tuple[str, ...]) -> None:
    """Take labels that were given from node NAME."""
    _label(data_dir, name, {key: None for key in keys})


def _label(data_dir: Path | None, name: str, labels: Mapping[str, str | None]) -> None:
    made = ask(data_dir_of(data_dir), path_of("nodes", name, "labels"), body={"labels": labels})
    click.echo(f"{made['id']} is in node pool {made['pool']}")


@node.command("taint")
@data_dir_option
@click.argument("name", type=NAME)
@click.argument("taints", nargs=-1, required=True, metavar="KEY[=VALUE]:EFFECT...")
def taint_node(data_dir: Path | None, name: str, taints: tuple[str, ...]) -> None:
    """
    Keep node NAME for what tolerates its taints.

    EFFECT is NoSchedule (nothing else is placed there, and what runs there goes on), PreferNoSchedule
    (only where nothing else fits) or NoExecute (nothing else stays there, either: it is evicted, and waits
    in its old place in line). Taints stay until they are taken away, over restarts, too.
    """
    _change_taints(data_dir, name, [_read_taint(t) for t in taints])


@node.command("untaint")
@data_dir_option
@click.argument("name", type=NAME)
@click.argument("taints", nargs=-1, required=True, metavar="KEY:EFFECT...")
def untaint_node(data_dir: Path | None, name: str, taints: tuple[str, ...]) -> None:
    """Take taints that were given from node NAME."""
    _change_taints(data_dir, name, [_read_taint(t) | {"value": None} for t in taints])


def _read_taint(text: str) -> dict[str, str | None]:
    """`key=value:Effect`, as Kubernetes writes it; without a value `key:Effect`."""
    label, colon, effect = text.rpartition(":")
    key, _, value = label.partition("=")
    if not colon or not key:
        raise click.UsageError(f"{text!r} is not of the form KEY=VALUE:EFFECT")
    if effect not in EFFECTS:
        raise click.UsageError(f"{text!r} ends with none of {', '.join(EFFECTS)}")
    return {"key": key, "value": value, "effect": effect}


def _change_taints(data_dir: Path | None, name: str, taints: Sequence[Mapping[str, Any]]) -> None:
    made = ask(data_dir_of(data_dir), path_of("nodes", name, "taints"), body={"taints": list(taints)})
    left = ", ".join(_taint(t) for t in made["taints"])
    click.echo(f"{made['id']} has {f'the taints {left}' if left else 'no taints'}")
