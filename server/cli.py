"""The `homeport` command. Parse, call, print; what costs time is imported inside."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click


def _data_dir(given: Path | None) -> Path:
    if given is not None:
        return given
    if named := os.environ.get("HOMEPORT_DATA_DIR"):
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "homeport"


def _credentials(data_dir: Path) -> dict[str, str]:
    try:
        return json.loads((data_dir / "credentials.json").read_text())
    except FileNotFoundError as error:
        raise click.ClickException(f"{data_dir} holds no credentials: start `homeport serve` once") from error


def _open(
    data_dir: Path, path: str, *, method: str = "GET", body: object = None, timeout_s: float = 5
) -> Any:
    """The answer to a request below /homeport with this data directory's token; with a body it is a POST."""
    import urllib.error
    import urllib.request

    values = _credentials(data_dir)
    base = values["LEPTON_WORKSPACE_URL"].partition("/api/")[0]
    request = urllib.request.Request(
        f"{base}/homeport/{path}",
        method=method if body is None else "POST",
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {values['LEPTON_WORKSPACE_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    try:
        return urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        raise click.ClickException(json.loads(error.read()).get("message", str(error))) from error
    except OSError as error:
        raise click.ClickException(f"no server answers at {base}; start one with `homeport serve`") from error


def _ask(data_dir: Path, path: str, *, method: str = "GET", body: object = None) -> Any:
    with _open(data_dir, path, method=method, body=body) as answer:
        return json.load(answer)


data_dir_option = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where everything is kept."
)


@click.group()
@click.version_option(package_name="homeport")
def main() -> None:
    """Homeport: a GPU cloud that runs on your own machine."""


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="0 takes a free one.  [default: 8787]")
@click.option("--gateway-port", type=int, help="Where endpoints are reached.  [default: --port + 1]")
@data_dir_option
@click.option(
    "--runtime", type=click.Choice(["auto", "docker", "process", "simulated"]), help="[default: auto]"
)
@click.option("--gpus", help="auto, none, or NxTYPE such as 4xA100-80GB.  [default: auto]")
@click.option("--allow-host", multiple=True, help="A further name this server is reached by.")
@click.option(
    "--allow-host-path", multiple=True, metavar="DIR", help="A directory of this host that may be mounted."
)
@click.option("--ephemeral", is_flag=True, default=None, help="Remove every container on exit.")
@click.option("--testing", is_flag=True, default=None, help="Allow faults to be injected.")
def serve(**flags: Any) -> None:
    """Run the server until SIGTERM."""
    import gc

    gc.disable()  # until all is imported and wired: a seventh of the time until it answers
    from .app import run
    from .errors import HomeportError
    from .settings import load_settings

    for several in ("allow_host", "allow_host_path"):
        flags[several] = flags[several] or None
    try:
        run(load_settings(**flags))
    except HomeportError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@data_dir_option
@click.option("--format", "form", type=click.Choice(["shell", "json"]), default="shell")
def env(data_dir: Path | None, form: str) -> None:
    """Print what the clients need: `eval "$(homeport env)"`."""
    values = _credentials(_data_dir(data_dir))
    if form == "json":
        click.echo(json.dumps(values))
        return
    for name, value in values.items():
        quoted = value.replace("'", "'\\''")
        click.echo(f"export {name}='{quoted}'")


@main.command("exec", context_settings={"ignore_unknown_options": True})
@data_dir_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(data_dir: Path | None, command: tuple[str, ...]) -> None:
    """Run a command with the clients' environment, against a server that is started if none answers."""
    from .background import server_for

    where = _data_dir(data_dir)
    with server_for(where):
        import subprocess

        try:
            status = subprocess.run(
                command, env={**os.environ, **_credentials(where)}, check=False
            ).returncode
        except FileNotFoundError as error:
            raise click.ClickException(f"no command named {shlex.quote(command[0])}") from error
    sys.exit(status if status >= 0 else 128 - status)


@main.command()
@click.option("--runtime", type=click.Choice(["auto", "docker", "process"]), default="auto")
@click.option("--lep", help="The lep executable to use.")
def demo(runtime: str, lep: str | None) -> None:
    """The main job, end to end, with the real client."""
    from .demo import run_demo

    sys.exit(run_demo(lep=lep, runtime=runtime))


@main.command()
@data_dir_option
def status(data_dir: Path | None) -> None:
    """What runs."""
    where = _data_dir(data_dir)
    health = _ask(where, "health")
    click.echo(health["status"] + "".join(f"\n  {reason}" for reason in health["reasons"]))
    for row in _ask(where, "workloads"):
        click.echo(f"{row['id']:40} {row['kind']:6} {row['phase']:10} {row['shape']}")


@main.command()
@data_dir_option
@click.argument("name")
def why(data_dir: Path | None, name: str) -> None:
    """Why a workload is where it is."""
    answer = _ask(_data_dir(data_dir), f"why/{name}")
    click.echo(f"{answer['id']} is {answer['phase']}")
    for reason in answer["reasons"]:
        click.echo(f"  {reason}")


@main.command()
@data_dir_option
@click.argument("name")
@click.option("--replica", help="Only this one's.")
@click.option("-f", "--follow", is_flag=True, help="Until it ends.")
def logs(data_dir: Path | None, name: str, replica: str | None, follow: bool) -> None:
    """The log of a workload's latest run, by name or id."""
    from urllib.parse import quote, urlencode

    ask = urlencode({"follow": follow} | ({"replica": replica} if replica else {}))
    day_s = 24 * 3600.0
    path = f"logs/{quote(name, safe='')}?{ask}"
    with _open(_data_dir(data_dir), path, timeout_s=day_s if follow else 60) as answer:
        while piece := answer.read1(65536):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


@main.command()
@data_dir_option
@click.argument("name")
@click.argument("replica", required=False)
def approve(data_dir: Path | None, name: str, replica: str | None) -> None:
    """Let the replicas of an endpoint take requests that it holds back for approval."""
    from urllib.parse import quote

    answer = _ask(_data_dir(data_dir), f"endpoints/{quote(name, safe='')}/approve", body={"replica": replica})
    click.echo("\n".join(answer["approved"]) or f"no replica of {name} runs yet")


@main.group()
def reservation() -> None:
    """Keep nodes for those who name the reservation (`lep job create --with-reservation`)."""


@reservation.command("add")
@data_dir_option
@click.argument("name")
@click.option("--node-group", default="default", show_default=True)
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=24.0, show_default=True)
def add_reservation(data_dir: Path | None, name: str, node_group: str, nodes: int, hours: float) -> None:
    """Reserve nodes from now on."""
    body = {"name": name, "node_group": node_group, "nodes": nodes, "lasts_s": int(hours * 3600)}
    made = _ask(_data_dir(data_dir), "reservations", body=body)
    click.echo(f"{made['id']} holds {', '.join(made['nodes'])} for {hours:g} hours")


@reservation.command("remove")
@data_dir_option
@click.argument("name")
def remove_reservation(data_dir: Path | None, name: str) -> None:
    """Give the nodes back to everybody."""
    _ask(_data_dir(data_dir), f"reservations/{name}", method="DELETE")


@main.command()
@data_dir_option
def doctor(data_dir: Path | None) -> None:
    """What works on this machine, what is weaker, what to do."""
    from .doctor import examine
    from .errors import HomeportError
    from .settings import load_settings

    try:
        findings = examine(load_settings(data_dir=data_dir))
    except HomeportError as error:
        raise click.ClickException(str(error)) from error
    for finding in findings:
        click.echo(f"{'ok  ' if finding.is_ok else 'weak'}  {finding.what}")
        if finding.remedy:
            click.echo(f"      {finding.remedy}")
