"""
Supervises one command for the process runtime; run as a script, stdlib only.

It holds a lock on its folder as long as it lives (kill -9 frees it), so a
restarted server knows by the lock alone whether the command is still watched.
What to run comes as JSON on stdin, never from a file: secrets are in it.

The folder holds `state.json` (when it began and how it ended), `work` (where the
command runs), `root` (what its mounts need) and `log`, one entry per line:
`<Unix ns, 19 digits><space or +><data>\\n`. With `+` the newline is not the
command's own: its line was too long, or not finished yet.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import posixpath
import select
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

LINE_BYTES = 16 * 1024
UNFINISHED_S = 0.2  # so long a line may wait for its end before it is shown
DRAIN_S = 1.0  # so long the output of an ended command is read when something else holds its pipe
READ_BYTES = 1 << 18
BATCH_S = 0.002  # a writer of single lines costs one wake-up per this time, not one per line
MAX_COPIED = 4096
LINUX = sys.platform == "linux"

# linux/sched.h, linux/mount.h, linux/prctl.h
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = 0x1, 0x20, 0x1000, 0x2000, 0x4000
MS_UNBINDABLE, MS_PRIVATE = 1 << 17, 1 << 18
MS_KEPT = 0x2 | 0x4 | 0x8 | 0x400  # nosuid, nodev, noexec, noatime: statvfs and mount agree on these
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
OPEN_PATH = (os.O_PATH if LINUX else os.O_RDONLY) | os.O_CLOEXEC


class Refused(Exception):
    """A mount that cannot be made; told to the driver by name."""

    def __init__(self, target: str, detail: str) -> None:
        super().__init__(f"mount at {target}: {detail}")
        self.target, self.detail = target, detail


# The folder: read by the driver, written by the supervisor.


def is_locked(folder: Path) -> bool:
    lock = _try_lock(folder, os.O_RDONLY, fcntl.LOCK_SH)
    if lock is not None and lock >= 0:
        os.close(lock)
    return lock == -1


def read_state(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "state.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}


def bury(folder: Path, now_ms: int) -> dict[str, Any]:
    """The state of a command whose supervisor was killed: what is left of it is killed too."""
    lock = _try_lock(folder, os.O_RDWR, fcntl.LOCK_EX)
    if lock is None or lock < 0:
        return read_state(folder)
    try:
        state = read_state(folder)
        if not state or "exit_code" in state:
            return state
        leader = _started_ticks(state["child_pid"])
        # A number that another process bears by now names no group of ours.
        if state.get("boot") == _boot() and leader in (None, state.get("child_ticks")):
            _kill_group(state["child_pid"])
        error = "its supervising process was killed"
        state |= {"exit_code": 137, "finished_at_ms": now_ms, "error": error}
        _save(folder, state)
    finally:
        os.close(lock)
    return state


def _try_lock(folder: Path, mode: int, kind: int) -> int | None:
    """A file descriptor; -1 where somebody else holds the lock, None where there is none to hold."""
    try:
        lock = os.open(folder / "lock", mode | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return -1
    return lock


def _save(folder: Path, state: dict[str, Any]) -> None:
    draft = folder / "state.tmp"
    with draft.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / "state.json")


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started_ticks(pid: int) -> int | None:
    """When a process began, in ticks since boot: with the pid it names one process for good."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return


def _now_ns() -> int:
    return time.time_ns()  # noqa: TID251  a process of its own; the server's clock is not here


def _monotonic_s() -> float:
    return time.monotonic()  # noqa: TID251


# The log.


class Log:
    """Writes entries whole or not at all; a full disk loses lines, never the command."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._rest = b""
        self._rest_since_s = 0.0
        self._last_ns = 0

    def feed(self, chunk: bytes) -> None:
        if not self._rest:
            self._rest_since_s = _monotonic_s()
        *lines, rest = (self._rest + chunk).split(b"\n")
        if lines:
            self._rest_since_s = _monotonic_s()
        stamp = self._stamp()
        out: list[bytes] = []
        for line in lines:
            if len(line) > LINE_BYTES:
                line = self._split(line, stamp, out)
            out.append(b"%b %b\n" % (stamp, line))
        self._rest = self._split(rest, stamp, out)
        self._write(b"".join(out))

    def wait_s(self) -> float | None:
        """Until an unfinished line is due."""
        return max(0.0, self._rest_since_s + UNFINISHED_S - _monotonic_s()) if self._rest else None

    def flush(self, *, only_due: bool) -> None:
        if self._rest and not (only_due and self.wait_s()):
            self._write(b"%b+%b\n" % (self._stamp(), self._rest))
            self._rest = b""

    @staticmethod
    def _split(line: bytes, stamp: bytes, out: list[bytes]) -> bytes:
        at = 0
        while len(line) - at > LINE_BYTES:
            out.append(b"%b+%b\n" % (stamp, line[at : at + LINE_BYTES]))
            at += LINE_BYTES
        return line[at:]

    def _stamp(self) -> bytes:
        self._last_ns = max(self._last_ns, _now_ns())  # the clock may be set back, a log never runs back
        return b"%019d" % self._last_ns

    def _write(self, data: bytes) -> None:
        whole = os.fstat(self._fd).st_size
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            os.ftruncate(self._fd, whole)


# Mounts, in the child alone.


class PrivateMounts:
    """
    A mount namespace of the command's own, so nothing outside sees a mount of it.

    A target that this host lacks is made without touching the host: the nearest
    directory that exists is replaced, in the namespace, by a copy whose entries
    are bound to the real ones, and the target is made in that copy. Where it is
    `/` itself the command gets the copy as its root. What a command then adds
    directly in a copied directory stays in the attempt's folder and goes with it.
    A target inside another mount is made there, as Docker does.

    It keeps commands from meeting by accident; it is no wall against root.
    """

    def __init__(self, folder: Path) -> None:
        self._root = folder / "root"
        self._root.mkdir(exist_ok=True)
        self._made: set[tuple[int, int]] = set()  # directories that exist in this namespace alone
        self._volumes: list[str] = []
        self._copies = 0
        self._libc = ctypes.CDLL(None, use_errno=True)

    def enter(self, mounts: list[dict[str, Any]], hosts: str) -> None:
        self._check(self._libc.unshare(CLONE_NEWNS))
        self._mount(None, "/", MS_REC | MS_PRIVATE)
        if hosts:
            self._mount(hosts, os.path.realpath("/etc/hosts"), MS_BIND)
        # All are staged before one is attached: an attached one may hide the source of another.
        for number, mount in enumerate(mounts):
            mount["staged"] = self._told(mount, self._stage, mount, self._root / f"volume-{number}")
        for mount in sorted(mounts, key=lambda m: m["target"].count("/")):
            self._told(mount, self._attach, mount)

    @staticmethod
    def _told(mount: dict[str, Any], step: Any, *args: Any) -> Any:
        try:
            return step(*args)
        except OSError as error:
            raise Refused(mount["target"], f"{error.strerror or error}") from error

    def _stage(self, mount: dict[str, Any], stage: Path) -> int:
        source = self._same_directory(mount["source_fd"])
        stage.mkdir()
        self._mount(f"/proc/self/fd/{source}", str(stage), MS_BIND | MS_REC)
        if mount["is_read_only"]:
            for path in _mounts_below(str(stage)):
                flags = os.statvfs(path).f_flag & MS_KEPT
                self._mount(None, path, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)
        return os.open(stage, OPEN_PATH)

    @staticmethod
    def _same_directory(proved: int) -> int:
        """The directory that the driver proved, in this namespace; its path alone would prove nothing."""
        again = os.open(os.readlink(f"/proc/self/fd/{proved}"), OPEN_PATH | os.O_NOFOLLOW)
        if not os.path.samestat(os.fstat(proved), os.fstat(again)):
            raise OSError("its source was moved while it was mounted")
        return again

    def _attach(self, mount: dict[str, Any]) -> None:
        at = self._find(mount["target"], mount["target"])
        self._mount(f"/proc/self/fd/{mount['staged']}", f"/proc/self/fd/{at}", MS_MOVE)
        self._volumes.append(mount["target"])

    def _find(self, target: str, path: str, links: int = 0) -> int:
        """The directory to mount on, walked without trusting a link that lies in a volume."""
        here, done = os.open("/", OPEN_PATH), ""
        parts = path.strip("/").split("/")
        for index, part in enumerate(parts):
            try:
                below = os.open(part, OPEN_PATH | os.O_NOFOLLOW, dir_fd=here)
            except FileNotFoundError:
                if self._make_room(target, here, done or "/"):
                    return self._find(target, path, links)  # `here` is hidden by its own copy now
                os.mkdir(part, dir_fd=here)
                below = os.open(part, OPEN_PATH | os.O_NOFOLLOW, dir_fd=here)
                if not self._is_in_volume(done):
                    self._made.add(_identity(below))
            mode = os.fstat(below).st_mode
            if stat.S_ISLNK(mode):
                if self._is_in_volume(done) or links > 8:
                    raise Refused(target, f"{done}/{part} is a link")
                real = os.path.realpath(f"{done}/{part}")
                return self._find(target, posixpath.join(real, *parts[index + 1 :]), links + 1)
            if not stat.S_ISDIR(mode):
                raise Refused(target, f"{done}/{part} is not a directory")
            here, done = below, f"{done}/{part}"
        return here

    def _make_room(self, target: str, here: int, path: str) -> bool:
        """Whether `path` was replaced by a copy, because a directory must be made in it."""
        if self._is_in_volume(path) or _identity(here) in self._made:
            return False
        names = os.listdir(path)
        if len(names) > MAX_COPIED:
            raise Refused(target, f"it does not exist, and {path} has too many entries for a copy of it")
        copy = self._root / f"copy-{self._copies}"
        self._copies += 1
        copy.mkdir()
        self._mount(str(copy), str(copy), MS_BIND)
        self._mount(None, str(copy), MS_UNBINDABLE)  # or a bind of what holds it would hold it twice
        real = os.stat(path)
        os.chown(copy, real.st_uid, real.st_gid)
        copy.chmod(stat.S_IMODE(real.st_mode))
        for name in names:
            self._bind_entry(Path(path) / name, copy / name)
        self._mount(None, str(copy), MS_PRIVATE)
        self._made.add(_identity(os.open(copy, OPEN_PATH)))
        if path == "/":
            os.chroot(copy)
        else:
            self._mount(str(copy), path, MS_MOVE)
        return True

    def _bind_entry(self, source: Path, target: Path) -> None:
        try:
            mode = source.lstat().st_mode
            if stat.S_ISLNK(mode):
                target.symlink_to(os.readlink(source))
                return
            if stat.S_ISDIR(mode):
                target.mkdir()
            else:
                target.touch()
            self._mount(str(source), str(target), MS_BIND | MS_REC)
        except FileNotFoundError:
            return  # it went while we looked

    def _is_in_volume(self, path: str) -> bool:
        return any(path == v or path.startswith(f"{v}/") for v in self._volumes)

    def _mount(self, source: str | None, target: str, flags: int) -> None:
        source_bytes = None if source is None else os.fsencode(source)
        self._check(self._libc.mount(source_bytes, os.fsencode(target), None, ctypes.c_ulong(flags), None))

    @staticmethod
    def _check(result: int) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _identity(directory: int) -> tuple[int, int]:
    seen = os.fstat(directory)
    return seen.st_dev, seen.st_ino


def _mounts_below(path: str) -> list[str]:
    """Mount points at and below `path`; a volume may hold another file system. Source: proc(5), mountinfo."""
    found: list[str] = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = os.fsdecode(line.split(b" ")[4].decode("unicode_escape").encode("latin-1"))
        if point == path or point.startswith(f"{path}/"):
            found.append(point)
    return found


# The command.


def _spawn(folder: Path, job: dict[str, Any], output: int) -> tuple[int, dict[str, Any]]:
    """Its pid, and what state.json says of a start that failed, else {}."""
    told, tell = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _become(folder, job, output, parent)
        except Refused as error:
            answer: dict[str, Any] = {"exit_code": 126, "error": str(error)}
            answer["refused_mount"] = [error.target, error.detail]
            os.write(tell, json.dumps(answer).encode())
        except BaseException as error:
            os.write(tell, json.dumps({"exit_code": 127, "error": str(error)}).encode())
        finally:
            os._exit(127)
    os.close(tell)
    with open(told, "rb") as pipe:
        answer = json.loads(pipe.read() or b"{}")  # a successful exec closes it unwritten
    return child, answer


def _become(folder: Path, job: dict[str, Any], output: int, parent: int) -> None:
    os.setsid()
    if LINUX:  # a command never outlives its supervisor unseen
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    work = folder / "work"
    os.chdir(work)
    if job["mounts"] or job["hosts"]:
        try:
            PrivateMounts(folder).enter(job["mounts"], job["hosts"])
        except OSError as error:  # the kernel forbids mount namespaces here
            first = job["mounts"][0]["target"] if job["mounts"] else "/etc/hosts"
            raise Refused(first, f"no private mounts: {error.strerror or error}") from error
        os.chdir(work)  # the same directory, in the root that the command sees
    # What Python, or a shell that began the server in the background, ignores would stay ignored after exec.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):  # the C library keeps two of them to itself
            signal.signal(number, signal.SIG_DFL)
    if wanted := job.get("working_dir"):
        os.chdir(wanted)
    os.execvpe(job["command"][0], job["command"], job["env"])


def _ended(child: int) -> int | None:
    """Its exit code, 128+n after signal n. It stays a zombie, so that nobody else gets its number."""
    if sys.platform == "darwin":  # no waitid before Python 3.13
        pid, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if pid else None
        return code if code is None or code >= 0 else 128 - code
    seen = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if seen is None:
        return None
    return seen.si_status if seen.si_code == os.CLD_EXITED else 128 + seen.si_status


def _orphans(child: int) -> list[int]:
    """Processes that left the command's tree; as their subreaper we are their parent."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(pid) for pid in text.split() if int(pid) != child]


def _wake(_number: int, _frame: object) -> None:
    """Having a handler is enough: it makes Python write to the wake-up descriptor."""


def _watch(child: int, output: int, wakened: int, log: Log) -> int:
    poll = select.poll()
    poll.register(output, select.POLLIN)
    poll.register(wakened, select.POLLIN)
    is_open, code, deadline_s = True, None, 0.0
    while True:
        waits = [w for w in (log.wait_s(), None if code is None else 0.02) if w is not None]
        ready = {fd for fd, _ in poll.poll(int(min(waits) * 1000) + 1 if waits else None)}
        if wakened in ready:
            os.read(wakened, 4096)
            for orphan in _orphans(child):
                os.waitpid(orphan, os.WNOHANG)
        if output in ready:
            if chunk := os.read(output, READ_BYTES):
                log.feed(chunk)
            else:
                is_open = False
                poll.unregister(output)
        log.flush(only_due=True)
        if code is None and (code := _ended(child)) is not None:
            deadline_s = _monotonic_s() + DRAIN_S
        if code is not None:
            _kill_group(child)
            for orphan in _orphans(child):
                os.kill(orphan, signal.SIGKILL)
            if not is_open or _monotonic_s() >= deadline_s:
                log.flush(only_due=False)
                return code
        elif output in ready:
            time.sleep(BATCH_S)  # noqa: TID251


def supervise(folder: Path) -> None:
    lock = None
    for _ in range(20):  # a driver that looks whether it is held holds it for an instant itself
        lock = _try_lock(folder, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        if lock != -1:
            break
        time.sleep(0.01)  # noqa: TID251
    if lock in (None, -1) or (folder / "state.json").exists():
        return
    job = json.load(sys.stdin)
    for mount in job["mounts"]:
        os.set_inheritable(mount["source_fd"], False)
    log = Log(folder / "log")
    output, output_end = os.pipe()
    wakened, wake = os.pipe()
    if LINUX:
        fcntl.fcntl(output, getattr(fcntl, "F_SETPIPE_SZ", 1031), 1 << 20)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _wake)
    state: dict[str, Any] = {"started_at_ms": _now_ns() // 1_000_000, "boot": _boot()}
    child, failure = _spawn(folder, job, output_end)
    os.close(output_end)
    if failure:
        _save_surely(folder, state | failure | {"finished_at_ms": _now_ns() // 1_000_000})
        return
    if not _save_surely(folder, state | {"child_pid": child, "child_ticks": _started_ticks(child)}):
        _kill_group(child)
        return
    state |= {"child_pid": child, "exit_code": _watch(child, output, wakened, log)}
    state["finished_at_ms"] = max(state["started_at_ms"], _now_ns() // 1_000_000)
    _save_surely(folder, state)


def _save_surely(folder: Path, state: dict[str, Any]) -> bool:
    """
    How a command ended is not lost to a full disk: it is written when there is room
    again. False: the folder was removed, nobody wants to know any more.
    """
    while True:
        try:
            _save(folder, state)
            return True
        except FileNotFoundError:
            return False
        except OSError:
            time.sleep(1)  # noqa: TID251


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))
