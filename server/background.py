"""A server for the length of one command, where none is running."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from pathlib import Path

import click

from .tls import trusting


def is_answering(data_dir: Path) -> bool:
    try:
        values = json.loads((data_dir / "credentials.json").read_text())
        base = values["LEPTON_WORKSPACE_URL"].partition("/api/")[0]
        context = trusting(values.get("SSL_CERT_FILE"))
        with urllib.request.urlopen(f"{base}/homeport/health", timeout=2, context=context) as answer:
            return answer.status == 200
    except (OSError, ValueError, KeyError):
        return False


@contextlib.contextmanager
def server_for(data_dir: Path) -> Generator[None]:
    if is_answering(data_dir):
        yield
        return
    argv = [sys.executable, "-m", "homeport", "serve", "--port", "0", "--data-dir", str(data_dir)]
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "server.log").open("ab") as log:
        server = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True)
    assert server.stdout is not None
    try:
        if not server.stdout.readline().startswith("homeport ready"):  # the line, or the end of its output
            raise click.ClickException(f"the server did not start; {data_dir / 'server.log'} says why")
        yield
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
