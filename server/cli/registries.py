"""`homeport registry`."""

import sys
from pathlib import Path

import click

from .client import NAME, ask, data_dir_of, data_dir_option
from .tables import json_option, moment, show_list


@click.group(short_help="Logins for private images.")
def registry() -> None:
    """Logins for private images, which workloads name (`lep job create --image-pull-secrets NAME`)."""


@registry.command("add")
@data_dir_option
@click.argument("name")
@click.option("--server", required=True, help="HOST[:PORT] as in the image's name; docker.io for the Hub.")
@click.option("--username", required=True, help="Whom it logs in.")
@click.option("--password-stdin", is_flag=True, help="Read the password or token from stdin.")
@click.option(
    "--private", is_flag=True, help="For your own workloads only, instead of the whole workspace's."
)
def add_registry(
    data_dir: Path | None, name: str, server: str, username: str, password_stdin: bool, private: bool
) -> None:
    """Keep a login, encrypted. Without --password-stdin the password is asked for."""
    where = data_dir_of(data_dir)
    if password_stdin:
        password = sys.stdin.read().rstrip("\r\n")  # what `echo` and editors put at the end
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True)
    else:
        raise click.UsageError("stdin is no terminal; give --password-stdin and pipe the password in")
    body = {
        "name": name, "server": server, "username": username, "password": password,
        "visibility": "private" if private else "public",
    }  # fmt: skip
    made = ask(where, "registries", body=body)
    click.echo(f"{made['name']} logs in to {made['server']} as {made['username']}")


@registry.command("list")
@data_dir_option
@json_option
def list_registries(data_dir: Path | None, as_json: bool) -> None:
    """The logins that you may use; passwords are never shown. Times are UTC."""
    show_list(
        ask(data_dir_of(data_dir), "registries"),
        ("NAME", "SERVER", "USERNAME", "OWNER", "VISIBILITY", "CREATED"),
        lambda r: [
            r["name"], r["server"], r["username"], r["owner"], r["visibility"], moment(r["created_at_ms"]),
        ],
        nothing="no registry logins; `homeport registry add` makes one",
        as_json=as_json,
    )  # fmt: skip


@registry.command("remove")
@data_dir_option
@click.argument("name", type=NAME)
def remove_registry(data_dir: Path | None, name: str) -> None:
    """Forget a login of yours; admins may remove anybody's. Images that were pulled with it stay here."""
    from urllib.parse import quote

    ask(data_dir_of(data_dir), f"registries/{quote(name, safe='')}", method="DELETE")
