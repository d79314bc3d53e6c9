"""Commands that begin something on this machine: serve, env, exec, demo, doctor."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from .client import credentials, data_dir_of, data_dir_option


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="0 takes a free one.  [default: 8787]")
@click.option("--gateway-port", type=int, help="Where endpoints are reached.  [default: --port + 1]")
@data_dir_option
@click.option(
    "--runtime", type=click.Choice(["auto", "docker", "process", "simulated"]), help="[default: auto]"
)
@click.option("--gpus", help="auto, none, 4xA100-80GB, 1xH100-80GB:7x1g.10gb (MIG).  [default: auto]")
@click.option("--seed", type=click.Path(path_type=Path), help="YAML: simulated nodes, projects, rules.")
@click.option("--allow-host", multiple=True, help="A further name this server is reached by.")
@click.option(
    "--allow-host-path", multiple=True, metavar="DIR", help="A directory of this host that may be mounted."
)
@click.option("--ephemeral", is_flag=True, default=None, help="Remove every container on exit.")
@click.option("--tls", is_flag=True, default=None, help="Serve HTTPS, with a certificate of its own.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Serve HTTPS with this one (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option("--testing", is_flag=True, default=None, help="Allow faults to be injected.")
def serve(**flags: Any) -> None:
    """Run the server until SIGTERM."""
    import gc

    gc.disable()  # until all is imported and wired: a seventh of the time until it answers
    from ..app import run
    from ..errors import HomeportError
    from ..settings import load_settings

    for several in ("allow_host", "allow_host_path"):
        flags[several] = flags[several] or None
    try:
        run(load_settings(**flags))
    except HomeportError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@click.command()
@data_dir_option
@click.option("--format", "form", type=click.Choice(["shell", "json"]), default="shell", show_default=True)
def env(data_dir: Path | None, form: str) -> None:
    """Print what the clients need: `eval "$(homeport env)"`."""
    values = credentials(data_dir_of(data_dir))
    if form == "json":
        click.echo(json.dumps(values))
        return
    for name, value in values.items():
        quoted = value.replace("'", "'\\''")
        click.echo(f"export {name}='{quoted}'")


@click.command(
    "exec",
    short_help="Run a command with the clients' environment.",
    context_settings={"ignore_unknown_options": True},
)
@data_dir_option
@click.option(
    "--proxy/--no-proxy", default=True, help="Lead the vendor's endpoint domain here, and no other."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(data_dir: Path | None, proxy: bool, command: tuple[str, ...]) -> None:
    """
    Run a command with the clients' environment, against a server that is started if none answers.

    HTTPS_PROXY of the command leads https://WORKSPACE-ENDPOINT.xenon.lepton.run to the endpoint here.
    No other host is reached by https through it: a command that needs others is run with --no-proxy.
    """
    from ..background import server_for
    from ..vendor_exec import vendor_domain

    where = data_dir_of(data_dir)
    with server_for(where), vendor_domain(where, is_wanted=proxy) as more:
        import subprocess

        values = credentials(where)
        try:
            status = subprocess.run(command, env={**os.environ, **values, **more}, check=False).returncode
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            what = "no command named {}" if missing else f"cannot run {{}}: {error.strerror}"
            click.echo(f"Error: {what.format(shlex.quote(command[0]))}", err=True)
            status = 127 if missing else 126  # as a shell has it
    sys.exit(status if status >= 0 else 128 - status)


@click.command(short_help="Run a first job, end to end, with the real client.")
@click.option(
    "--runtime", type=click.Choice(["auto", "docker", "process"]), default="auto", show_default=True
)
@click.option(
    "--lep", help="The lep executable to use.  [default: $HOMEPORT_LEP, or the one that is installed]"
)
def demo(runtime: str, lep: str | None) -> None:
    """Run a first job, end to end, with the real client, on a server of its own."""
    from ..demo import run_demo

    sys.exit(run_demo(lep=lep, runtime=runtime))


@click.command()
@data_dir_option
def doctor(data_dir: Path | None) -> None:
    """What works on this machine, what is weaker, what to do."""
    from ..doctor import examine
    from ..errors import HomeportError
    from ..settings import load_settings

    try:
        findings = examine(load_settings(data_dir=data_dir))
    except HomeportError as error:
        raise click.ClickException(str(error)) from error
    for finding in findings:
        click.echo(f"{'ok  ' if finding.is_ok else 'weak'}  {finding.what}")
        if finding.remedy:
            click.echo(f"      {finding.remedy}")
