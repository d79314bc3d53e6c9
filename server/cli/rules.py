"""`homeport rule`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .client import NAME, ask, data_dir_of, data_dir_option
from .tables import json_option, show_list


@click.group()
def rule() -> None:
    """What simulated containers do (docs/simulated.md)."""


def _match_options(command: Any) -> Any:
    told = {
        "kind": "job, endpoint, pod, ...", "name": "The workload's name.", "id": "Its id.",
        "image": "Its image.", "command": "Its command.",
        "shape": "Its resource shape.", "project": "Its project or workspace.", "node": "Its node.",
    }  # fmt: skip
    for name, text in reversed(told.items()):
        command = click.option(f"--match-{name}", metavar="PATTERN", help=text)(command)
    return command


@rule.command("add")
@data_dir_option
@click.argument("name", required=False, type=NAME)
@click.option(
    "-f", "--file", "path", type=click.Path(path_type=Path), help="YAML, with `rules:` as in a seed file."
)
@_match_options
@click.option("--match-attempt", type=click.IntRange(1), help="1 is the first of a replica.")
@click.option("--pending", metavar="TIME", help="Between launch and start: 500ms, 30s, 5m; or MIN..MAX.")
@click.option("--pull", metavar="TIME", help="Of the image, once on each node.")
@click.option("--run", metavar="TIME", help="Until it ends by itself, or `forever`.")
@click.option("--exit-code", type=click.IntRange(0, 255), help="With which it ends.  [default: 0]")
@click.option("--oom", is_flag=True, default=None, help="It goes over its memory limit.")
@click.option("--crash", metavar="SIGNAL", help="For instance SIGSEGV.")
@click.option("--fail-launch", metavar="TEXT", help="The engine refuses to start it.")
@click.option("--fail-pull", metavar="TEXT", help="Its image cannot be pulled.")
@click.option("--log", multiple=True, metavar="LINE", help="A line that it writes at its start.")
@click.option("--gpu-percent", type=click.FloatRange(0, 100), help="How busy its GPUs are said to be.")
def add_rule(data_dir: Path | None, name: str | None, path: Path | None, **told: Any) -> None:
    """Add a rule before all others. HTTP answers and lines with their times are written in a file."""
    given = {key: value for key, value in told.items() if value not in (None, ())}
    if (name is None) == (path is None) or (path is not None and given):
        raise click.UsageError("give a name and options, or -f FILE alone")
    bodies = _from_file(path) if path is not None else [_body(str(name), given)]
    for body in reversed(bodies):  # each goes before all others: so the file's first is tried first
        made = ask(data_dir_of(data_dir), "rules", body=body)
        click.echo(f"{made['name']} is in force for what is launched from now on")


def _body(name: str, given: dict[str, Any]) -> dict[str, Any]:
    match = {key.removeprefix("match_"): given.pop(key) for key in list(given) if key.startswith("match_")}
    for key in ("pending", "pull", "run"):
        low, is_span, high = str(given.get(key, "")).partition("..")
        if is_span:
            given[key] = {"min": low, "max": high}
    return {"name": name, "match": match, **given}


def _from_file(path: Path) -> list[Any]:
    """Checked here, where the lines are known."""
    from ..errors import HomeportError
    from ..world.reading import checked, read_yaml
    from ..world.rules import RulesBody

    try:
        text = read_yaml(path, flag="-f")
        seen: set[str] = set()
        for index, body in enumerate(checked(RulesBody, text).rules):
            if not body.name:
                raise text.refusal(("rules", index), "has no name, by which it is listed and removed")
            if body.name in seen:  # one would replace the other
                raise text.refusal(("rules", index, "name"), f"{body.name!r} is there twice; rename one")
            seen.add(body.name)
    except HomeportError as error:
        raise click.ClickException(str(error)) from error
    return text.value["rules"]


@rule.command("list")
@data_dir_option
@json_option
def list_rules(data_dir: Path | None, as_json: bool) -> None:
    """Rules, in the order in which they are tried."""
    show_list(
        ask(data_dir_of(data_dir), "rules"),
        ("NAME", "MATCHES", "WHAT HAPPENS", "FROM"),
        lambda r: [
            r["name"], " ".join(f"{key}={value}" for key, value in r["match"].items()) or "everything",
            _life(r), "the API" if r["added"] else "the seed file",
        ],
        nothing="no rules: what serves runs until it is stopped, all else succeeds after a second",
        as_json=as_json,
    )  # fmt: skip


def _life(one: Mapping[str, Any]) -> str:
    """What becomes of a container, in order."""
    parts = [f"{what} {_span(one[what])}" for what in ("pull", "pending") if one[what]]
    if one["fail_pull"]:
        return f"its image cannot be pulled: {one['fail_pull']}"
    if one["fail_launch"]:
        return ", ".join([*parts, f"does not start: {one['fail_launch']}"])
    end = "goes over its memory" if one["oom"] else f"exit {one['exit_code']}"
    return ", ".join([*parts, f"run {_span(one['run'])}", *([] if one["run"] == "forever" else [end])])


def _span(told: Any) -> str:
    if isinstance(told, dict):
        return f"{told['min']:g}..{told['max']:g} s"
    return told if isinstance(told, str) else f"{told:g} s"


@rule.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_rule(data_dir: Path | None, name: str) -> None:
    """Take a rule away. Containers that exist keep theirs."""
    from urllib.parse import quote

    ask(data_dir_of(data_dir), f"rules/{quote(name, safe='')}", method="DELETE")
