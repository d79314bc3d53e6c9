"""`homeport project`, `homeport department`, `homeport pool`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from .client import NAME, Number, ask, data_dir_of, data_dir_option
from .tables import table

Command = Callable[..., None]
NO_BOUNDS = "none"
MOST_NAMED = 6  # nodes in one line
RANKS = ("very low", "low", "medium low", "medium", "medium high", "high", "very high")


class Amount(click.ParamType[float | str]):
    """A number, or `none` for no bounds."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        return NO_BOUNDS if value == NO_BOUNDS else Number(0).convert(value, param, ctx)


AMOUNT = Amount()
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
# Option, its field in the answer, its help.
QUOTAS = (
    ("--gpus", ("gpu", "deserved"), "GPUs that are its own, whoever else asks; 0.5 is half a device."),
    ("--gpu-limit", ("gpu", "limit"), "It never has more GPUs than this."),
    ("--gpu-weight", ("gpu", "weight"), "Its part of GPUs that nobody's quota covers."),
    ("--cpus", ("cpu", "deserved"), "CPU cores that are its own."),
    ("--cpu-limit", ("cpu", "limit"), "It never has more CPU cores than this."),
    ("--memory", ("memory", "deserved"), "MiB of memory that are its own."),
    ("--memory-limit", ("memory", "limit"), "It never has more MiB of memory than this."),
)


def quota_options(command: Command) -> Command:
    for option, (resource, what), text in reversed(QUOTAS):
        command = click.option(option, f"{resource}_{what}", type=AMOUNT, help=text)(command)
    rank = click.option(
        "--rank", type=click.Choice(RANKS, case_sensitive=False), help="Higher is served first beyond quotas."
    )
    pool = click.option("--pool", type=NAME, default="default", show_default=True, help="Of this node pool.")
    return pool(rank(command))


def quota_of(pool: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The change of one quota, with no more in it than was said."""
    change: dict[str, Any] = {"pool": pool}
    for _, (resource, what), _ in QUOTAS:
        if (value := given[f"{resource}_{what}"]) is not None:
            change.setdefault(resource, {})[what] = None if value == NO_BOUNDS else value
    if given["rank"] is not None:
        change["rank"] = given["rank"]
    return change


def is_change(quota: Mapping[str, Any]) -> bool:
    return len(quota) > 1


def quotas_of(pool: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of what is made: none where nothing was said of it."""
    quota = quota_of(pool, given)
    if not is_change(quota) and pool != "default":
        raise click.UsageError(f"--pool {pool} alone says nothing; add a quota of it such as --gpus 2")
    return [quota] if is_change(quota) else []


def show(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], cells: Callable[[Any], list[str]]
) -> None:
    click.echo(table(columns, [cells(row) for row in rows]))


def print_json(answer: object) -> None:
    import json

    click.echo(json.dumps(answer, indent=1))


def _number(value: float | None, unbounded: str = "no limit") -> str:
    return unbounded if value is None else f"{value:g}"


def _quotas(unit: Mapping[str, Any]) -> str:
    """A line for each pool."""
    told = [
        f"{q['pool']}: {_number(q['gpu']['deserved'], 'all')}"
        + ("" if q["gpu"]["limit"] is None else f" of at most {_number(q['gpu']['limit'])}")
        + ("" if q["rank"] == "Medium low" else f", rank {q['rank'].lower()}")
        for q in unit["quotas"]
    ]
    told = told or ["none"]
    return "\n".join([*told, *(["(the whole machine)"] if unit["follows_machine"] else [])])


def path_of(kind: str, name: str, *more: str) -> str:
    from urllib.parse import quote

    return "/".join((kind, quote(name, safe=""), *more))


# -- projects --------------------------------------------------------------------


@click.group()
def project() -> None:
    """Share the machine between projects. Each is a workspace of Lepton's clients, too."""


@project.command("list")
@data_dir_option
@json_option
def list_projects(data_dir: Path | None, as_json: bool) -> None:
    """Projects with their GPU quotas, and what they hold now."""
    rows = ask(data_dir_of(data_dir), "projects")
    if as_json:
        print_json(rows)
        return
    show(
        rows,
        ("NAME", "ID", "DEPARTMENT", "GPU QUOTA", "GPUS NOW"),
        lambda p: [p["name"], p["id"], p["department"], _quotas(p), f"{p['gpus_taken']:g}"],
    )


@project.command("create")
@data_dir_option
@click.argument("name", type=NAME)
@click.option("--department", default="default", show_default=True, help="Whose it is.")
@quota_options
def create_project(data_dir: Path | None, name: str, department: str, pool: str, **given: Any) -> None:
    """Make project NAME, and with it the Lepton workspace of that name."""
    body = {"name": name, "department": department, "quotas": quotas_of(pool, given)}
    made = ask(data_dir_of(data_dir), "projects", body=body)
    how = f"homeport token create OWNER --workspace {name}"
    click.echo(f"project {made['name']} has the id {made['id']}; for a token: {how}")
    if not any(q["gpu"]["deserved"] != 0 for q in made["quotas"]):
        click.echo(
            "It has no GPU of its own: only work that can be preempted runs on GPUs (--gpus gives it some)."
        )


@project.command("set-quota")
@data_dir_option
@click.argument("name", type=NAME)
@quota_options
def set_project_quota(data_dir: Path | None, name: str, pool: str, **given: Any) -> None:
    """Change what project NAME has of a node pool. What is not named stays; `none` takes bounds away."""
    _set_quota(data_dir, "projects", name, pool, given)


@project.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_project(data_dir: Path | None, name: str) -> None:
    """Remove project NAME with its workspace, tokens and secrets. Nothing may run or wait in it."""
    ask(data_dir_of(data_dir), path_of("projects", name), method="DELETE")


def _set_quota(data_dir: Path | None, kind: str, name: str, pool: str, given: Mapping[str, Any]) -> None:
    quota = quota_of(pool, given)
    if not is_change(quota):
        raise click.UsageError("nothing to change; name a quota such as --gpus 2, or see --help")
    made = ask(data_dir_of(data_dir), path_of(kind, name, "quota"), body=quota)
    click.echo(f"{made['name']}: {'; '.join(_quotas(made).splitlines())}")


# -- departments -----------------------------------------------------------------


@click.group()
def department() -> None:
    """Group projects; quotas hold at both levels."""


@department.command("list")
@data_dir_option
@json_option
def list_departments(data_dir: Path | None, as_json: bool) -> None:
    """Departments with their GPU quotas and projects."""
    rows = ask(data_dir_of(data_dir), "departments")
    if as_json:
        print_json(rows)
        return
    show(
        rows,
        ("NAME", "ID", "GPU QUOTA", "PROJECTS"),
        lambda d: [d["name"], d["id"], _quotas(d), ", ".join(d["projects"])],
    )


@department.command("create")
@data_dir_option
@click.argument("name", type=NAME)
@quota_options
def create_department(data_dir: Path | None, name: str, pool: str, **given: Any) -> None:
    """Make department NAME."""
    body = {"name": name, "quotas": quotas_of(pool, given)}
    made = ask(data_dir_of(data_dir), "departments", body=body)
    click.echo(f"department {made['name']} has the id {made['id']}")


@department.command("set-quota")
@data_dir_option
@click.argument("name", type=NAME)
@quota_options
def set_department_quota(data_dir: Path | None, name: str, pool: str, **given: Any) -> None:
    """Change what department NAME has of a node pool. What is not named stays; `none` takes bounds away."""
    _set_quota(data_dir, "departments", name, pool, given)


@department.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_department(data_dir: Path | None, name: str) -> None:
    """Remove department NAME, which has no projects any more."""
    ask(data_dir_of(data_dir), path_of("departments", name), method="DELETE")


# -- node pools ------------------------------------------------------------------


@click.group()
def pool() -> None:
    """Divide the nodes by a label. Lepton's clients call a pool a node group."""


@pool.command("list")
@data_dir_option
@json_option
def list_pools(data_dir: Path | None, as_json: bool) -> None:
    """Node pools with their nodes."""
    rows = ask(data_dir_of(data_dir), "pools")
    if as_json:
        print_json(rows)
        return
    show(
        rows,
        ("NAME", "ID", "LABEL", "GPUS", "NODES"),
        lambda p: [p["name"], p["id"], p["label"] or "(all others)", str(p["gpus"]), _some(p["nodes"])],
    )


def _some(names: Sequence[str]) -> str:
    """The first of them; all are in the JSON."""
    more = len(names) - MOST_NAMED
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NAMED])} and {more} more"


@pool.command("create")
@data_dir_option
@click.argument("name", type=NAME)
@click.option("--label", required=True, metavar="KEY=VALUE", help="The pool has the nodes that bear it.")
@click.option("--strategy", type=click.Choice(("binpack", "spread")), default="binpack", show_default=True)
@click.option(
    "--min-runtime", type=click.IntRange(0), default=0, show_default=True,
    help="Seconds that work runs before it can be preempted.",
)  # fmt: skip
def create_pool(data_dir: Path | None, name: str, label: str, strategy: str, min_runtime: int) -> None:
    """Make node pool NAME of the nodes with a label (`homeport node label`)."""
    if "=" not in label:
        raise click.UsageError(f"--label {label!r} is not of the form KEY=VALUE")
    body = {
        "name": name, "label": label, "gpu_strategy": strategy, "cpu_strategy": strategy,
        "min_runtime_s": min_runtime,
    }  # fmt: skip
    made = ask(data_dir_of(data_dir), "pools", body=body)
    how = "" if made["nodes"] else f"; for one: homeport node label NODE {label}"
    click.echo(f"node pool {made['name']} has {len(made['nodes'])} node(s){how}")


@pool.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_pool(data_dir: Path | None, name: str) -> None:
    """Remove node pool NAME, which has no nodes any more."""
    ask(data_dir_of(data_dir), path_of("pools", name), method="DELETE")
