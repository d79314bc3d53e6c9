"""Real `leptonai` SDKs, each in its own environment, driven from the tests."""

import json
import os
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.world import World

REPL = Path(__file__).parent / "clients" / "repl.py"


OLDER = ("0.27.3", "0.26.4")
VERSIONS = ("0.47.1", *OLDER)


class SdkError(Exception):
    """What the SDK raised, by name and text."""


class Sdk:
    """One process of one client version; every call says which server it goes to."""

    def __init__(self, version: str, cache: Path) -> None:
        self.version = version
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEPTON_", "PYTHON"))}
        clean["LEPTON_CACHE_DIR"] = str(cache)  # the user's own login is not looked at
        python = environment(version) / "bin" / "python"
        self._process = subprocess.Popen(
            [str(python), str(REPL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean
        )

    def run(self, home: World, code: str, **values: Any) -> Any:
        """
        Executes `code`; the answer is what `result` is then.

        In scope: `client` of the SDK's own generation, `cli_client` on which its CLI is built, and its types.
        """
        ask = {
            "url": home.values["LEPTON_WORKSPACE_URL"], "token": home.values["LEPTON_WORKSPACE_TOKEN"],
            "code": code, "values": values,
        }  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(ask), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise SdkError(answer["error"])
        return answer["ok"]

    def create(self, home: World, name: str, command: str, **spec: Any) -> str:
        """Creates a job from keywords of LeptonJobUserSpec; its id."""
        whole = {
            "resource_shape": "cpu.small",
            "container": {"image": home.image, "command": ["/bin/bash", "-c", command]},
            **spec,
        }
        code = "result = client.job.create(LeptonJob(metadata=metadata, spec=LeptonJobUserSpec(**spec)))"
        labels = whole.pop("labels", None)
        made = self.run(home, f"metadata = Metadata(id=name, labels=labels)\n{code}",
                        name=name, spec=whole, labels=labels)  # fmt: skip
        return made["metadata"]["id"]

    def status(self, home: World, job: str) -> dict[str, Any]:
        return self.run(home, "result = client.job.get(job)", job=job)["status"]

    def state(self, home: World, job: str) -> str:
        return self.status(home, job)["state"]

    def log(self, home: World, job: str, replica: str | None = None) -> str:
        """The whole log of one replica (of the first one unless named), once it has ended."""
        code = "r = replica or client.job.get_replicas(job)[0].id_\n"
        code += "result = ''.join(client.job.get_log(job, r))"
        return self.run(home, code, job=job, replica=replica)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


def environment(version: str) -> Path:
    """The folder of a client's environment, as `make clients` makes it."""
    return Path(__file__).parents[1] / f".venv-lepton-{version}"


@contextmanager
def open_sdk(version: str) -> Generator[Sdk]:
    with tempfile.TemporaryDirectory() as cache:
        made = Sdk(version, Path(cache))
        try:
            yield made
        finally:
            made.close()
