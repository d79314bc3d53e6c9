"""`homeport token`."""

from pathlib import Path

import click

from .client import NAME, Number, ask, data_dir_of, data_dir_option
from .tables import json_option, moment, show_list

workspace_option = click.option(
    "--workspace", type=NAME, help="Of this workspace (`homeport project list`).  [default: the server's own]"
)


@click.group(short_help="Let more people use this server.")
def token() -> None:
    """Let more people use this server, each with a token of their own."""


@token.command("add")
@data_dir_option
@click.argument("owner")
@click.option(
    "--days",
    type=Number(0, 3650, min_open=True),
    default=90.0,
    show_default=True,
    help="How long it is good.",
)
@workspace_option
def add_token(data_dir: Path | None, owner: str, days: float, workspace: str | None) -> None:
    """Print a new token for OWNER, such as ada@example.org. It is shown this once."""
    body = {"owner": owner, "days": days, "workspace": workspace}
    click.echo(ask(data_dir_of(data_dir), "tokens", body=body)["token"])


token.add_command(add_token, "create")  # as the other things are made


@token.command("list")
@data_dir_option
@workspace_option
@json_option
def list_tokens(data_dir: Path | None, workspace: str | None, as_json: bool) -> None:
    """Whose tokens there are, and until when; times are UTC. Admins see everybody's, others their own."""
    show_list(
        ask(data_dir_of(data_dir), "tokens" + _query(workspace)),
        ("TOKEN", "OWNER", "EXPIRES"),
        lambda t: [t["token"], t["owner"], moment(t["expires_at_ms"])],
        nothing="no tokens; `homeport token create OWNER` makes one",
        as_json=as_json,
    )


@token.command("remove", context_settings={"ignore_unknown_options": True})  # one may begin with a dash
@data_dir_option
@click.argument("token")
@workspace_option
def remove_token(data_dir: Path | None, token: str, workspace: str | None) -> None:
    """Take a token back, named as `homeport token list` shows it: abc...xyz."""
    from urllib.parse import quote

    prefix, dots, suffix = token.partition("...")
    if not (prefix and dots and suffix):
        raise click.UsageError(f"{token!r} is not of the form abc...xyz")
    path = f"tokens/{quote(prefix, safe='')}/{quote(suffix, safe='')}{_query(workspace)}"
    ask(data_dir_of(data_dir), path, method="DELETE")


def _query(workspace: str | None) -> str:
    from urllib.parse import urlencode

    return "" if workspace is None else "?" + urlencode({"workspace": workspace})
