"""Local process groups: real execution without an engine. The image is ignored."""

import asyncio
import contextlib
import glob
import hashlib
import json
import os
import posixpath
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ..clock import Clock
from ..driver import LoginSource, no_login
from ..errors import ExecRefused, LaunchRefused, MountRejected, RuntimeUnavailable
from ..exec_session import ExecSession
from ..model import WAITS, ContainerSpec, ContainerState, Handle, LogEntry, Mount, Observed, Port
from ..mounts import names_below, open_inside
from . import process_shim
from .process_exec import open_exec

POLL_S = 0.05
PAUSED = "paused"  # a file that says so
REMOVE_S = 5
CHUNK_BYTES = 256 * 1024
STAMP_BYTES = 19
KEPT_ENV = ("PATH", "LANG", "LD_LIBRARY_PATH")  # nothing else of the server's own reaches a command
# Covering these would break every program, and nothing a user keeps lies there.
SYSTEM_TARGETS = ("/proc", "/sys")


class ProcessDriver:
    """
    Each attempt has a folder below `root` and a supervisor of its own (process_shim)
    in a session of its own, which outlives this server and writes how it ended.

    As root, mounts and workers' names are real, in a mount namespace of the command's
    own. Without, a mount is a link at its target below HOMEPORT_MOUNT_ROOT, and what
    a link cannot do is refused. Ports are the host's: workers of a group keep apart
    when each listens on its own name, which is a loopback address of its own.

    Args:
        is_privileged: None asks the kernel whether we may mount.
    """

    def __init__(self, instance: str, clock: Clock, root: Path, *, is_privileged: bool | None = None) -> None:
        self._instance, self._clock, self._root = instance, clock, root.absolute()
        self._is_privileged = _may_mount() if is_privileged is None else is_privileged
        self._root.mkdir(parents=True, exist_ok=True)
        for half_removed in self._root.glob(".gone-*"):
            shutil.rmtree(half_removed, ignore_errors=True)
        self._shims: list[subprocess.Popen[bytes]] = []
        self._specs: dict[str, dict[str, Any]] = {}

    @property
    def kind(self) -> str:
        return "process"

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
                with contextlib.ExitStack() as opened:
                    shim = self._launch(spec, folder, opened)
            except MountRejected:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            except OSError as error:  # a full disk, too many processes
                raise RuntimeUnavailable("the process runtime", str(error)) from error
            while not (folder / "state.json").exists() and shim.poll() is None:
                await self._clock.sleep(POLL_S / 10)
            if shim.poll() and not process_shim.is_locked(folder):
                said = (folder / "supervisor.log").read_text(errors="replace")[-500:]
                raise LaunchRefused(f"the supervising process failed: {said}")
        refused = process_shim.read_state(folder).get("refused_mount")
        if refused:
            await self.remove(handle)
            raise MountRejected(*refused)
        return handle

    def _launch(
        self, spec: ContainerSpec, folder: Path, opened: contextlib.ExitStack
    ) -> subprocess.Popen[bytes]:
        sources = self._open_sources(spec, opened)  # before there is a folder: a refusal leaves nothing
        env, hosts = self._environment(spec), ""
        if not self._is_privileged and set(spec.peers) - set(spec.aliases):
            raise LaunchRefused("the process runtime gives workers names only as root")
        (folder / "work").mkdir(parents=True, exist_ok=True)
        if spec.mounts and not self._is_privileged:
            env["HOMEPORT_MOUNT_ROOT"] = str(_link(folder / "root", spec.mounts, sources))
        if self._is_privileged and (names := dict.fromkeys((*spec.aliases, *spec.peers))):
            hosts = str(folder / "hosts")
            lines = [f"{loopback_address(spec.group, name)} {name}\n" for name in names]
            Path(hosts).write_text(_host_names() + "".join(lines))
        # What a restarted server must know, and no secret: the environment never lies on the disk.
        _write(folder / "spec.json", {**asdict(spec), "env": []})
        job = {
            "command": (*spec.command, *spec.args) or WAITS,
            "working_dir": spec.working_dir,
            "env": env,
            "hosts": hosts,
            "mounts": [
                {"target": mount.target.rstrip("/"), "source_fd": fd, "is_read_only": mount.is_read_only}
                for mount, fd in zip(spec.mounts, sources, strict=True)
                if self._is_privileged
            ],
        }
        told = opened.enter_context(_unnamed_file())
        told.write(json.dumps(job).encode())
        told.seek(0)
        self._shims = [s for s in self._shims if s.poll() is None]
        # A second supervisor of one folder finds the lock taken and leaves: never two. Isolated (-I),
        # or this directory's modules would hide those of the standard library.
        shim = subprocess.Popen(
            [sys.executable, "-I", "-S", process_shim.__file__, str(folder)],
            start_new_session=True,
            env=_kept_environment(),
            cwd=folder,
            stdin=told,
            stdout=subprocess.DEVNULL,
            stderr=opened.enter_context((folder / "supervisor.log").open("ab")),
            pass_fds=sources,
        )
        self._shims.append(shim)
        return shim

    def _open_sources(self, spec: ContainerSpec, opened: contextlib.ExitStack) -> list[int]:
        sources: list[int] = []
        taken: set[str] = set()
        for mount in spec.mounts:
            check_target(mount)
            target = mount.target.rstrip("/")
            if target in taken:
                raise MountRejected(mount.target, "two mounts have this target")
            taken.add(target)
            if mount.nfs or mount.root is None:
                raise MountRejected(mount.target, "the process runtime cannot mount NFS exports")
            own, real = os.path.realpath(self._root), os.path.realpath(target)
            if Path(own).is_relative_to(real) or Path(real).is_relative_to(own):
                raise MountRejected(mount.target, "it would hide the process runtime's own files")
            if mount.is_read_only and not self._is_privileged:
                raise MountRejected(mount.target, "the process runtime makes mounts read-only only as root")
            source = open_inside(mount.root, mount.path, target=mount.target)
            opened.callback(os.close, source)
            sources.append(source)
        return sources

    def _environment(self, spec: ContainerSpec) -> dict[str, str]:
        home = str(self._root / spec.name / "work")
        own = {"HOME": home, "CUDA_VISIBLE_DEVICES": ",".join(spec.gpu_uuids)}
        return {**_kept_environment(), **own, **dict(spec.env)}

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        deadline = self._clock.monotonic_s() + grace_s
        folder, is_asked = self._root / handle.name, False
        while process_shim.is_locked(folder):
            state = process_shim.read_state(folder)
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
        process_shim.bury(folder, self._clock.now_ms())

    async def pause(self, handle: Handle) -> None:
        """The whole process group; a process that has left it runs on."""
        folder = self._root / handle.name
        child = process_shim.read_state(folder).get("child_pid")
        if child and process_shim.is_locked(folder) and not (folder / PAUSED).exists():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                os.killpg(child, signal.SIGSTOP)
                (folder / PAUSED).touch()  # afterwards: what is marked surely stands still

    async def resume(self, handle: Handle) -> None:
        folder = self._root / handle.name
        child = process_shim.read_state(folder).get("child_pid")
        if child and process_shim.is_locked(folder):
            self._resume(folder, child)

    def _resume(self, folder: Path, child: int) -> None:
        if (folder / PAUSED).exists():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGCONT)
            (folder / PAUSED).unlink(missing_ok=True)

    async def remove(self, handle: Handle) -> None:
        folder, gone = self._root / handle.name, self._root / f".gone-{handle.name}"
        patient_until = self._clock.monotonic_s() + REMOVE_S
        while process_shim.is_locked(folder):
            child = process_shim.read_state(folder).get("child_pid", 0)
            if child:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            # A supervisor that a full disk keeps from its last words leaves once its folder is gone.
            if self._clock.monotonic_s() > patient_until and not process_shim.is_running(child):
                break
            await self._clock.sleep(POLL_S / 10)
        process_shim.bury(folder, self._clock.now_ms())
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(gone)  # at once for those who list, however long the rest takes
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)

    async def list_owned(self) -> Sequence[Observed]:
        return [self._observe(folder, spec) for folder, spec in self._owned()]

    def _owned(self) -> list[tuple[Path, dict[str, Any]]]:
        folders = sorted(self._root.glob(f"hp-{glob.escape(self._instance)}-*"))
        # It never changes once it is written, and this is asked many times a second.
        self._specs = {f.name: self._specs.get(f.name) or _read(f / "spec.json") for f in folders}
        read = ((folder, self._specs[folder.name]) for folder in folders)
        return [(folder, spec) for folder, spec in read if spec.get("instance") == self._instance]

    def _observe(self, folder: Path, spec: dict[str, Any]) -> Observed:
        is_supervised = process_shim.is_locked(folder)
        state = process_shim.read_state(folder)  # after the lock: an end is written before it is let go
        if state and "exit_code" not in state and not is_supervised:
            state = process_shim.bury(folder, self._clock.now_ms())
        if "exit_code" in state:
            seen = ContainerState.EXITED
        else:
            is_paused = (folder / PAUSED).exists()
            alive = ContainerState.PAUSED if is_paused else ContainerState.RUNNING
            seen = alive if is_supervised else ContainerState.CREATED
        ports = (Port(**port) for port in spec["ports"])
        return Observed(
            handle=Handle(folder.name, folder.name),
            workload_id=spec["workload_id"],
            replica_id=spec["replica_id"],
            attempt=spec["attempt"],
            generation=spec["generation"],
            state=seen,
            exit_code=state.get("exit_code"),
            started_at_ms=state.get("started_at_ms"),
            finished_at_ms=state.get("finished_at_ms"),
            error=state.get("error", ""),
            address="127.0.0.1" if seen in (ContainerState.RUNNING, ContainerState.PAUSED) else "",
            # The command listens on the host itself, so no other number can lead to it.
            ports=tuple(
                Port(p.container_port, p.protocol, p.container_port) for p in ports if p.host_port is not None
            ),
        )

    async def list_groups(self) -> Sequence[str]:
        return ()

    async def remove_group(self, group: str) -> None:
        return

    async def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[Sequence[LogEntry]]:
        folder = self._root / handle.name
        try:
            file = (folder / "log").open("rb")
        except FileNotFoundError:
            return
        with file:
            rest = b""
            while True:
                has_ended = not process_shim.is_locked(folder)  # asked before the read: nothing is missed
                while chunk := file.read(CHUNK_BYTES):
                    whole, newline, rest = (rest + chunk).rpartition(b"\n")
                    if newline:
                        yield _entries(whole)
                if has_ended or not follow:
                    return
                await self._clock.sleep(POLL_S)

    async def exec(self, handle: Handle, command: tuple[str, ...], *, tty: bool) -> ExecSession:
        folder = self._root / handle.name
        if (folder / PAUSED).exists():
            raise ExecRefused("it is paused")
        return await open_exec(self._clock, folder, command, tty=tty)

    async def changes(self) -> AsyncIterator[None]:
        before: object = None
        while True:
            began = self._clock.monotonic_s()
            self._shims = [s for s in self._shims if s.poll() is None]
            now = [(folder.name, self._progress(folder)) for folder, _ in self._owned()]
            if now != before:
                before = now
                yield None
            # Many folders are looked at less often: a tenth of the time at most goes into looking.
            await self._clock.sleep(max(POLL_S, 10 * (self._clock.monotonic_s() - began)))

    def _progress(self, folder: Path) -> tuple[bool, bool]:
        state = process_shim.read_state(folder)
        return bool(state), "exit_code" in state or not process_shim.is_locked(folder)

    async def purge(self) -> None:
        handles = [Handle(folder.name, folder.name) for folder, _ in self._owned()]
        await asyncio.gather(*(self.remove(handle) for handle in handles))
        for half_made in self._root.glob(f"hp-{glob.escape(self._instance)}-*"):
            if not (half_made / "spec.json").exists():
                await asyncio.to_thread(shutil.rmtree, half_made, ignore_errors=True)

    async def close(self) -> None:
        return


def check_target(mount: Mount) -> None:
    """A target that no runtime can give. Raises MountRejected."""
    names_below(mount.target, mount.target)
    if not mount.target.startswith("/") or posixpath.normpath(mount.target) != mount.target.rstrip("/"):
        raise MountRejected(mount.target, "the target is not an absolute, plain path")
    if any(mount.target == path or mount.target.startswith(f"{path}/") for path in SYSTEM_TARGETS):
        raise MountRejected(mount.target, "this directory is the kernel's")
    names_below(mount.path, mount.target)


def loopback_address(group: str, name: str) -> str:
    """
    A worker's own address, the same for all who know its name: those who start first
    cannot ask those who start later. `worker-0` and `worker-0.job` are one worker.
    """
    digest = hashlib.sha256(f"{group}\0{name.split('.')[0]}".encode()).digest()
    return f"127.{1 + digest[0] % 254}.{digest[1]}.{1 + digest[2] % 254}"


def _host_names() -> str:
    try:
        return Path("/etc/hosts").read_text().rstrip("\n") + "\n"
    except OSError:
        return "127.0.0.1 localhost\n"


def _link(root: Path, mounts: Sequence[Mount], sources: Sequence[int]) -> Path:
    """A private root in which each mount is a link."""
    shutil.rmtree(root, ignore_errors=True)  # of a start that was cut off
    for mount, source in zip(mounts, sources, strict=True):
        link = root / mount.target.strip("/")
        if any(parent.is_symlink() for parent in link.parents if parent.is_relative_to(root)):
            raise MountRejected(mount.target, "the process runtime mounts inside another mount only as root")
        link.parent.mkdir(parents=True, exist_ok=True)
        real = os.path.realpath(f"{mount.root}/{mount.path}")
        if not os.path.samestat(os.stat(real), os.fstat(source)):
            raise MountRejected(mount.target, "its source was moved while it was mounted")
        try:
            link.symlink_to(real)
        except FileExistsError as error:
            raise MountRejected(
                mount.target, "the process runtime mounts around another mount only as root"
            ) from error
    return root


def _entries(lines: bytes) -> list[LogEntry]:
    """Source: the log format in process_shim. What a full disk has torn is left out."""
    found: list[LogEntry] = []
    for line in lines.split(b"\n"):
        stamp, mark, data = line[:STAMP_BYTES], line[STAMP_BYTES : STAMP_BYTES + 1], line[STAMP_BYTES + 1 :]
        if stamp.isdigit():
            found.append(LogEntry(int(stamp), data if mark == b"+" else data + b"\n"))
    return found


def _kept_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT_ENV if name in os.environ}


def _may_mount() -> bool:
    """Whether we hold CAP_SYS_ADMIN, which is number 21. Source: capabilities(7)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False  # not Linux
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> 21 & 1)


def _unnamed_file() -> IO[bytes]:
    """In memory where the system can, else on the disk without a name."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("homeport-job"), "w+b")
    return tempfile.TemporaryFile()


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _write(path: Path, value: dict[str, Any]) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(value, default=str))
    draft.chmod(0o600)
    draft.replace(path)
