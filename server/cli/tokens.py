"""`homeport token`."""

from pathlib import Path

import click

from .client import NAME, Number, ask, data_dir_of, data_dir_option

workspace_option = click.option(
    "--workspace", type=NAME, help="Of this workspace (`homeport project list`).  [default: the server's own]"
)


@click.group()
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
    help="It is good so long.",
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
def list_tokens(data_dir: Path | None, workspace: str | None) -> None:
    """Whose tokens there are, and until when."""
    from datetime import UTC, datetime

    for row in ask(data_dir_of(data_dir), "tokens" + _query(workspace)):
        until = datetime.fromtimestamp(row["expires_at_ms"] / 1000, UTC)
        click.echo(f"{row['token']:12} {row['owner']:32} until {until:%Y-%m-%d}")


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
