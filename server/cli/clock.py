"""`homeport clock`."""

from pathlib import Path
from typing import Any

import click

from .client import ask, data_dir_of, data_dir_option, open_answer

LONGEST_S = 600  # of a thousand steps


@click.group(short_help="Stop and move the server's time.")
def clock() -> None:
    """Stop and move the server's time: on the simulated runtime, or with --testing."""


def _move(data_dir: Path | None, **body: Any) -> None:
    import json

    with open_answer(data_dir_of(data_dir), "clock", body=body, timeout_s=LONGEST_S) as answer:
        _show(json.load(answer))


def _show(told: dict[str, Any]) -> None:
    click.echo(f"{told['now']}{'  (stands still)' if told['is_frozen'] else ''}")


@clock.command("show")
@data_dir_option
def show_clock(data_dir: Path | None) -> None:
    """What time it is for the server."""
    _show(ask(data_dir_of(data_dir), "clock"))


@clock.command("freeze")
@data_dir_option
def freeze_clock(data_dir: Path | None) -> None:
    """Stop time until it is advanced or resumed."""
    _move(data_dir, action="freeze")


@clock.command("resume")
@data_dir_option
def resume_clock(data_dir: Path | None) -> None:
    """Let time go on from where it stands."""
    _move(data_dir, action="resume")


@clock.command("advance")
@data_dir_option
@click.argument("by", metavar="TIME")
@click.option("--step", metavar="TIME", help="In steps; what follows from one is done before the next.")
def advance_clock(data_dir: Path | None, by: str, step: str | None) -> None:
    """Move time on by 30s, 5m, 1h, 2d or a number of seconds."""
    _move(data_dir, action="advance", by=by, **({"step": step} if step else {}))


@clock.command("set")
@data_dir_option
@click.argument("to", metavar="TIME")
def set_clock(data_dir: Path | None, to: str) -> None:
    """Move time to a moment yet to come.

    TIME is such as 2030-01-31T12:00:00; UTC unless it says otherwise.
    """
    from datetime import UTC, datetime

    try:
        at = datetime.fromisoformat(to)
    except ValueError as error:
        raise click.BadParameter(f"{to!r} is no ISO 8601 time", param_hint="TIME") from error
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    _move(data_dir, action="set", to_ms=round(at.timestamp() * 1000))
