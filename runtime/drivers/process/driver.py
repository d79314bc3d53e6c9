"""Starts, stops and watches attempts; each is a folder with a supervisor."""

import asyncio
import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from ...clock import Clock
from ...container_options import ContainerOptions, Refusal
from ...driver import LoginSource, no_login
from ...errors import ExecRefused, LaunchRefused, MountRejected, RuntimeUnavailable
from ...exec_session import ExecSession
from ...model import ContainerSpec, Handle, LogEntry, Observed
from .exec import open_exec
from .launch import launch
from .logs import read_log
from .mounts import may_mount
from .observed import observed
from .options import refusal
from .supervisor.processes import is_running
from .supervisor.state import bury, is_locked, read_state

POLL_S = 0.05
PAUSED = "paused"  # a file that says so
REMOVE_S = 5


class ProcessDriver:
    """
    Each attempt has a folder below `root` and a supervisor of its own in a session of
    its own, which outlives this server and writes how it ended.

    As root, mounts and workers' names are real, in a mount namespace of the command's
    own. Without, a mount is a link at its target below HOMEPORT_MOUNT_ROOT, and what
    a link cannot do is refused. Ports are the host's: workers of a group keep apart
    when each listens on its own name, which is a loopback address of its own.

    Args:
        is_privileged: None asks the kernel whether we may mount.
    """

    def __init__(self, instance: str, clock: Clock, root: Path, *, is_privileged: bool | None = None) -> None:
        self._instance, self._clock, self._root = instance, clock, root.absolute()
        self._is_privileged = may_mount() if is_privileged is None else is_privileged
        self._root.mkdir(parents=True, exist_ok=True)
        for half_removed in self._root.glob(".gone-*"):
            shutil.rmtree(half_removed, ignore_errors=True)
        self._supervisors: list[subprocess.Popen[bytes]] = []
        self._specs: dict[str, dict[str, Any]] = {}

    @property
    def kind(self) -> str:
        return "process"

    def refusal(self, options: ContainerOptions) -> Refusal | None:
        return refusal(options, is_privileged=self._is_privileged)

    async def ping(self) -> None:
        return

    async def prepare(self, spec: ContainerSpec, login: LoginSource = no_login) -> None:
        return

    async def start(self, spec: ContainerSpec) -> Handle:
        if not (spec.command or spec.args or spec.stays):
            raise LaunchRefused("the process runtime has no image to take a command from: give one")
        handle, folder = Handle(spec.name, spec.name), self._root / spec.name
        if not (folder / "state.json").exists():
            try:
                supervisor = launch(spec, self._root, is_privileged=self._is_privileged)
            except MountRejected:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            except OSError as error:  # a full disk, too many processes
                raise RuntimeUnavailable("the process runtime", str(error)) from error
            self._forget_ended()
            self._supervisors.append(supervisor)
            while not (folder / "state.json").exists() and supervisor.poll() is None:
                await self._clock.sleep(POLL_S / 10)
            if supervisor.poll() and not is_locked(folder):
                said = (folder / "supervisor.log").read_text(errors="replace")[-500:]
                raise LaunchRefused(f"the supervising process failed: {said}")
        refused = read_state(folder).get("refused_mount")
        if refused:
            await self.remove(handle)
            raise MountRejected(*refused)
        return handle

    def _forget_ended(self) -> None:
        """Asking them is also what lets the kernel forget them."""
        self._supervisors = [s for s in self._supervisors if s.poll() is None]

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        deadline = self._clock.monotonic_s() + grace_s
        folder, is_asked = self._root / handle.name, False
        while is_locked(folder):
            state = read_state(folder)
            if "exit_code" in state:
                return
            if child := state.get("child_pid"):  # its supervisor keeps this number ours until it has written
                is_late = self._clock.monotonic_s() >= deadline
                if not is_asked or is_late:
                    is_asked = True
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL if is_late else signal.SIGTERM)
                    self._resume(folder, child)  # or it would not see the signal
            await self._clock.sleep(POLL_S / 5)
        bury(folder, self._clock.now_ms())

    async def pause(self, handle: Handle) -> None:
        """The whole process group; a process that has left it runs on."""
        folder = self._root / handle.name
        child = read_state(folder).get("child_pid")
        if child and is_locked(folder) and not (folder / PAUSED).exists():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                os.killpg(child, signal.SIGSTOP)
                (folder / PAUSED).touch()  # afterwards: what is marked surely stands still

    async def resume(self, handle: Handle) -> None:
        folder = self._root / handle.name
        child = read_state(folder).get("child_pid")
        if child and is_locked(folder):
            self._resume(folder, child)

    def _resume(self, folder: Path, child: int) -> None:
        if (folder / PAUSED).exists():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGCONT)
            (folder / PAUSED).unlink(missing_ok=True)

    async def remove(self, handle: Handle) -> None:
        folder, gone = self._root / handle.name, self._root / f".gone-{handle.name}"
        patient_until = self._clock.monotonic_s() + REMOVE_S
        while is_locked(folder):
            child = read_state(folder).get("child_pid", 0)
            if child:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            # A supervisor that a full disk keeps from its last words leaves once its folder is gone.
            if self._clock.monotonic_s() > patient_until and not is_running(child):
                break
            await self._clock.sleep(POLL_S / 10)
        bury(folder, self._clock.now_ms())
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(gone)  # at once for those who list, however long the rest takes
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)

    async def list_owned(self) -> Sequence[Observed]:
        return [self._observe(folder, spec) for folder, spec in self._owned()]

    def _owned(self) -> list[tuple[Path, dict[str, Any]]]:
        folders = sorted(self._root.glob(f"hp-{glob.escape(self._instance)}-*"))
        # It never changes once it is written, and this is asked many times a second.
        self._specs = {f.name: self._specs.get(f.name) or _read_spec(f) for f in folders}
        read = ((folder, self._specs[folder.name]) for folder in folders)
        return [(folder, spec) for folder, spec in read if spec.get("instance") == self._instance]

    def _observe(self, folder: Path, spec: dict[str, Any]) -> Observed:
        is_supervised = is_locked(folder)
        state = read_state(folder)  # after the lock: an end is written before it is let go
        if state and "exit_code" not in state and not is_supervised:
            state = bury(folder, self._clock.now_ms())
        is_paused = is_supervised and (folder / PAUSED).exists()
        return observed(folder.name, spec, state, is_supervised=is_supervised, is_paused=is_paused)

    async def list_groups(self) -> Sequence[str]:
        return ()

    async def remove_group(self, group: str) -> None:
        return

    def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[Sequence[LogEntry]]:
        return read_log(self._clock, self._root / handle.name, follow=follow)

    async def exec(self, handle: Handle, command: tuple[str, ...], *, tty: bool) -> ExecSession:
        folder = self._root / handle.name
        if (folder / PAUSED).exists():
            raise ExecRefused("it is paused")
        return await open_exec(self._clock, folder, command, tty=tty)

    async def changes(self) -> AsyncIterator[None]:
        before: object = None
        while True:
            began = self._clock.monotonic_s()
            self._forget_ended()
            now = [(folder.name, _progress(folder)) for folder, _ in self._owned()]
            if now != before:
                before = now
                yield None
            # Many folders are looked at less often: a tenth of the time at most goes into looking.
            await self._clock.sleep(max(POLL_S, 10 * (self._clock.monotonic_s() - began)))

    async def purge(self) -> None:
        handles = [Handle(folder.name, folder.name) for folder, _ in self._owned()]
        await asyncio.gather(*(self.remove(handle) for handle in handles))
        for half_made in self._root.glob(f"hp-{glob.escape(self._instance)}-*"):
            if not (half_made / "spec.json").exists():
                await asyncio.to_thread(shutil.rmtree, half_made, ignore_errors=True)

    async def close(self) -> None:
        return


def _read_spec(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "spec.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _progress(folder: Path) -> tuple[bool, bool]:
    state = read_state(folder)
    return bool(state), "exit_code" in state or not is_locked(folder)
