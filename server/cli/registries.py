"""`homeport registry`."""

import sys
from pathlib import Path

import click

from .client import NAME, ask, data_dir_of, data_dir_option


@click.group()
def registry() -> None:
    """Logins for private images (`lep job create --image-pull-secrets NAME`)."""


@registry.command("add")
@data_dir_option
@click.argument("name")
@click.option("--server", required=True, help="HOST[:PORT] as in the image's name; docker.io for the Hub.")
@click.option("--username", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password or token from stdin.")
def add_registry(data_dir: Path | None, name: str, server: str, username: str, password_stdin: bool) -> None:
    """Keep a login, encrypted. Without --password-stdin the password is asked for."""
    where = data_dir_of(data_dir)
    if password_stdin:
        password = sys.stdin.read().rstrip("\r\n")  # what `echo` and editors put at the end
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True)
    else:
        raise click.UsageError("stdin is no terminal; give --password-stdin and pipe the password in")
    body = {"name": name, "server": server, "username": username, "password": password}
    made = ask(where, "registries", body=body)
    click.echo(f"{made['name']} logs in to {made['server']} as {made['username']}")


@registry.command("list")
@data_dir_option
def list_registries(data_dir: Path | None) -> None:
    """The logins there are; passwords are never shown."""
    from datetime import UTC, datetime

    for row in ask(data_dir_of(data_dir), "registries"):
        made = datetime.fromtimestamp(row["created_at_ms"] / 1000, UTC)
        told = f"{row['name']:24} {row['server']:32} {row['username']:24} {row['owner']:28}"
        click.echo(f"{told} {made:%Y-%m-%dT%H:%M:%SZ}")


@registry.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_registry(data_dir: Path | None, name: str) -> None:
    """Forget a login. Images that were pulled with it stay on the machine."""
    from urllib.parse import quote

    ask(data_dir_of(data_dir), f"registries/{quote(name, safe='')}", method="DELETE")
