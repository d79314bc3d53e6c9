"""Local process groups: real execution without an engine. The image is ignored."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..clock import Clock
from ..errors import LaunchRefused
from ..model import ContainerSpec, ContainerState, Handle, Observed
from . import process_shim

POLL_S = 0.05
CHUNK_BYTES = 64 * 1024


class ProcessDriver:
    """
    Each attempt has a folder below `root` and a supervisor of its own (process_shim)
    in a session of its own, which outlives this server and writes how it ended.
    """

    def __init__(self, instance: str, clock: Clock, root: Path) -> None:
        self._instance, self._clock, self._root = instance, clock, root
        root.mkdir(parents=True, exist_ok=True)
        self._shims: list[subprocess.Popen[bytes]] = []

    @property
    def kind(self) -> str:
        return "process"

    async def ping(self) -> None:
        return

    async def prepare(self, spec: ContainerSpec) -> None:
        return

    async def start(self, spec: ContainerSpec) -> Handle:
        if not spec.command:
            raise LaunchRefused("the process runtime has no image to take a command from: give one")
        folder = self._root / spec.name
        (folder / "work").mkdir(parents=True, exist_ok=True)
        if not (folder / "state.json").exists():
            _write(folder / "spec.json", {**asdict(spec), "env": self._environment(spec)})
            # A second supervisor of one folder finds the lock taken and leaves: never two.
            argv = [sys.executable, process_shim.__file__, str(folder)]
            self._shims = [s for s in self._shims if s.poll() is None]
            self._shims.append(
                subprocess.Popen(  # noqa: ASYNC220  it returns at once, and nothing is piped
                    argv,
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            while not (folder / "state.json").exists() and self._shims[-1].poll() is None:
                await self._clock.sleep(POLL_S / 5)
        return Handle(spec.name, spec.name)

    def _environment(self, spec: ContainerSpec) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        home = str(self._root / spec.name / "work")
        return {**keep, "HOME": home, "CUDA_VISIBLE_DEVICES": ",".join(spec.gpu_uuids), **dict(spec.env)}

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        deadline = self._clock.monotonic_s() + grace_s
        self._signal(handle, signal.SIGTERM)
        while self._state(handle).get("finished_at_ms") is None and self._is_supervised(handle):
            if self._clock.monotonic_s() >= deadline:
                self._signal(handle, signal.SIGKILL)
                deadline = float("inf")
            await self._clock.sleep(POLL_S)

    async def remove(self, handle: Handle) -> None:
        await self.stop(handle, grace_s=0)
        await asyncio.to_thread(shutil.rmtree, self._root / handle.name, ignore_errors=True)

    async def list_owned(self) -> Sequence[Observed]:
        found: list[Observed] = []
        for folder in sorted(self._root.glob(f"hp-{self._instance}-*")):
            spec = _read(folder / "spec.json")
            if spec:
                found.append(self._observe(folder, spec))
        return found

    def _observe(self, folder: Path, spec: dict[str, Any]) -> Observed:
        handle = Handle(folder.name, folder.name)
        state = self._state(handle)
        exit_code, error = state.get("exit_code"), str(state.get("error", ""))
        if exit_code is not None:
            seen = ContainerState.EXITED
        elif self._is_supervised(handle):
            seen = ContainerState.RUNNING
        elif state and (state := self._state(handle)).get("exit_code") is not None:
            seen, exit_code = ContainerState.EXITED, state["exit_code"]  # it ended between the two looks
        elif state:
            seen, exit_code, error = ContainerState.EXITED, 137, "its supervising process was killed"
        else:
            seen = ContainerState.CREATED
        return Observed(
            handle=handle,
            workload_id=spec["workload_id"],
            replica_id=spec["replica_id"],
            attempt=spec["attempt"],
            generation=spec["generation"],
            state=seen,
            exit_code=exit_code,
            started_at_ms=state.get("started_at_ms"),
            finished_at_ms=state.get("finished_at_ms"),
            error=error,
        )

    async def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[bytes]:
        try:
            file = (self._root / handle.name / "log").open("rb")
        except FileNotFoundError:
            return
        with file:
            while True:
                has_ended = not self._is_supervised(handle)  # asked before the read, so nothing is missed
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
                if has_ended or not follow:
                    return
                await self._clock.sleep(POLL_S)

    async def changes(self) -> AsyncIterator[None]:
        before: object = None
        while True:
            now = tuple(
                (p.parent.name, p.stat().st_mtime_ns)
                for p in sorted(self._root.glob("*/state.json"))
                if p.exists()
            )
            if now != before:
                before = now
                yield None
            await self._clock.sleep(POLL_S)

    async def close(self) -> None:
        return

    def _state(self, handle: Handle) -> dict[str, Any]:
        return _read(self._root / handle.name / "state.json")

    def _is_supervised(self, handle: Handle) -> bool:
        return process_shim.is_locked(self._root / handle.name)

    def _signal(self, handle: Handle, number: signal.Signals) -> None:
        """To the command's process group, and only while its supervisor holds the pid for us."""
        group = self._state(handle).get("child_pid")
        if group and self._is_supervised(handle):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(group), number)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _write(path: Path, value: dict[str, Any]) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(value))
    draft.chmod(0o600)  # the environment may hold what others should not read
    draft.replace(path)
