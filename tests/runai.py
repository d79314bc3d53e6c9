"""The real `runapy`, in an environment of its own, driven from the tests."""

import json
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.world import World

REPL = Path(__file__).parent / "clients" / "runai_repl.py"
RUNAPY = "1.224.0"
KINDS = ("sync", "threaded", "async")  # ApiClient, ThreadedApiClient, AsyncApiClient


class RunaiError(Exception):
    """What the client raised, by name and text; `status` and `data` of an ApiException."""

    def __init__(self, text: str, status: int | None, data: Any) -> None:
        super().__init__(text)
        self.status, self.data = status, data


class Runai:
    """One process of the client; every call says which server it goes to."""

    def __init__(self) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RUNAI_", "PYTHON"))}
        python = Path(__file__).parents[1] / f".venv-runapy-{RUNAPY}" / "bin" / "python"
        self._process = subprocess.Popen(
            [str(python), str(REPL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean
        )

    def run(self, home: World, code: str, kind: str = "sync", **values: Any) -> Any:
        """
        Executes `code`; the answer is what `result` is then, an ApiResponse as {"status", "data"}.

        In scope: `client` (RunaiClient), `api_client`, `models`, `Configuration`, and `done`, which turns
        what any of the clients answers into its ApiResponse.
        """
        return self.run_with(configuration(home), code, kind, **values)

    def run_with(self, settings: dict[str, Any], code: str, kind: str = "sync", **values: Any) -> Any:
        """`settings`: of the client's Configuration."""
        ask = {"configuration": settings, "kind": kind, "code": code, "values": values}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(ask), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RunaiError(answer["error"], answer["status"], answer["data"])
        return answer["ok"]

    def data(self, home: World, expression: str, kind: str = "sync", **values: Any) -> Any:
        """The JSON that one call of `client` answers, as in `data(home, "datavolumes.x.get(id)", id=...)`."""
        return self.run(home, f"result = done(client.{expression}).data", kind, **values)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


def configuration(home: World, **more: Any) -> dict[str, Any]:
    """As `homeport env` has it. Without the client's own retries, which hide what was answered."""
    return {
        "client_id": home.values["RUNAI_CLIENT_ID"],
        "client_secret": home.values["RUNAI_CLIENT_SECRET"],
        "runai_base_url": home.values["RUNAI_BASE_URL"],
        "retry_enabled": False,
    } | more


@contextmanager
def open_runai() -> Generator[Runai]:
    made = Runai()
    try:
        yield made
    finally:
        made.close()
