"""What commands ask of a server that runs: where its data is, its credentials, its own API."""

import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click


def data_dir_of(given: Path | None) -> Path:
    if given is not None:
        return given
    if named := os.environ.get("HOMEPORT_DATA_DIR"):
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "homeport"


def credentials(data_dir: Path) -> dict[str, str]:
    try:
        return json.loads((data_dir / "credentials.json").read_text())
    except FileNotFoundError as error:
        raise click.ClickException(f"{data_dir} holds no credentials: start `homeport serve` once") from error


def open_answer(
    data_dir: Path, path: str, *, method: str = "GET", body: object = None, timeout_s: float = 5
) -> Any:
    """The answer to a request below /homeport with this data directory's token; with a body it is a POST."""
    import urllib.error
    import urllib.request

    from ..tls import trusting

    values = credentials(data_dir)
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
        return urllib.request.urlopen(
            request, timeout=timeout_s, context=trusting(values.get("SSL_CERT_FILE"))
        )
    except urllib.error.HTTPError as error:
        raise click.ClickException(refusal(base, error.code, error.read())) from error
    except OSError as error:
        raise click.ClickException(f"no server answers at {base}; start one with `homeport serve`") from error


def refusal(base: str, status: int, body: bytes) -> str:
    """What the server has against a request; without a word of its own, at least who answered what."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        known = status in HTTPStatus.__members__.values()
        told = f"{status} {HTTPStatus(status).phrase}" if known else str(status)
        more = "; its log has more" if status >= 500 else ""
        return f"{base} answers {told}{more}"


def ask(data_dir: Path, path: str, *, method: str = "GET", body: object = None) -> Any:
    with open_answer(data_dir, path, method=method, body=body) as answer:
        return json.load(answer)


class DataDir(click.Path):
    """Nothing is no directory: `--data-dir "$UNSET"` would be the one that the command is run in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("is empty; name a directory, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


class Name(click.ParamType[str]):
    """Of a workload, a login or a reservation, fit to be one part of a path once it is quoted."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or "/" in value:
            self.fail(f"{value!r} is no name", param, ctx)
        return value


class Number(click.FloatRange):
    """A range that NaN is not in, though it is neither below nor above."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


NAME = Name()
data_dir_option = click.option(
    "--data-dir",
    type=DataDir(path_type=Path),
    help="Where the server keeps everything.  [default: $HOMEPORT_DATA_DIR, or ~/.local/share/homeport]",
)
