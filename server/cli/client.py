"""What commands ask of a server that runs: where its data is, its credentials, its own API."""

import json
import os
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
        raise click.ClickException(json.loads(error.read()).get("message", str(error))) from error
    except OSError as error:
        raise click.ClickException(f"no server answers at {base}; start one with `homeport serve`") from error


def ask(data_dir: Path, path: str, *, method: str = "GET", body: object = None) -> Any:
    with open_answer(data_dir, path, method=method, body=body) as answer:
        return json.load(answer)


data_dir_option = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where everything is kept."
)
