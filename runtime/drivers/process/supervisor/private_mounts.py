"""Mounts that only one command sees; made by the process that becomes it."""

import ctypes
import os
import posixpath
import stat
from pathlib import Path
from typing import Any

from .job import JobMount
from .processes import LINUX

MAX_COPIED = 4096
# linux/sched.h, linux/mount.h
CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV = 0x2, 0x4
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = 0x1, 0x20, 0x1000, 0x2000, 0x4000
MS_UNBINDABLE, MS_PRIVATE = 1 << 17, 1 << 18
MS_KEPT = 0x2 | 0x4 | 0x8 | 0x400  # nosuid, nodev, noexec, noatime: statvfs and mount agree on these
OPEN_PATH = (os.O_PATH if LINUX else os.O_RDONLY) | os.O_CLOEXEC


class Refused(Exception):
    """A mount that cannot be made; told to the driver by name."""

    def __init__(self, target: str, detail: str) -> None:
        super().__init__(f"mount at {target}: {detail}")
        self.target, self.detail = target, detail


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

    def enter(self, mounts: list[JobMount], hosts: str) -> None:
        self._check(self._libc.unshare(CLONE_NEWNS))
        self._mount(None, "/", MS_REC | MS_PRIVATE)
        if hosts:
            self._mount(hosts, os.path.realpath("/etc/hosts"), MS_BIND)
        # All are staged before one is attached: an attached one may hide the source of another.
        staged = [
            (mount, self._told(mount, self._stage, mount, self._root / f"volume-{number}"))
            for number, mount in enumerate(mounts)
        ]
        for mount, volume in sorted(staged, key=lambda pair: pair[0]["target"].count("/")):
            self._told(mount, self._attach, mount["target"], volume)

    @staticmethod
    def _told(mount: JobMount, step: Any, *args: Any) -> Any:
        try:
            return step(*args)
        except OSError as error:
            raise Refused(mount["target"], f"{error.strerror or error}") from error

    def _stage(self, mount: JobMount, stage: Path) -> int:
        stage.mkdir()
        if mount["source_fd"] < 0:
            self._stage_memory(mount, stage)
        else:
            source = self._same_directory(mount["source_fd"])
            self._mount(f"/proc/self/fd/{source}", str(stage), MS_BIND | MS_REC)
        if mount["is_read_only"]:
            for path in _mounts_below(str(stage)):
                flags = os.statvfs(path).f_flag & MS_KEPT
                self._mount(None, path, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)
        return os.open(stage, OPEN_PATH)

    def _stage_memory(self, mount: JobMount, stage: Path) -> None:
        """It lives as long as this namespace, and no other sees what is in it."""
        options = f"size={mount['size_mib']}m,mode={mount['mode']:o}"
        self._mount("tmpfs", str(stage), MS_NOSUID | MS_NODEV, kind="tmpfs", options=options)
        for one in mount["files"]:
            file = os.open(stage / one["name"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as opened:
                opened.write(one["text"].encode())
                os.fchmod(file, one["mode"])

    @staticmethod
    def _same_directory(proved: int) -> int:
        """The directory that the driver proved, in this namespace; its path alone would prove nothing."""
        again = os.open(os.readlink(f"/proc/self/fd/{proved}"), OPEN_PATH | os.O_NOFOLLOW)
        if not os.path.samestat(os.fstat(proved), os.fstat(again)):
            raise OSError("its source was moved while it was mounted")
        return again

    def _attach(self, target: str, volume: int) -> None:
        at = self._find(target, target)
        self._mount(f"/proc/self/fd/{volume}", f"/proc/self/fd/{at}", MS_MOVE)
        self._volumes.append(target)

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

    def _mount(
        self, source: str | None, target: str, flags: int, *, kind: str | None = None, options: str = ""
    ) -> None:
        """`kind`: of a file system that is made, with its options."""
        source_bytes = None if source is None else os.fsencode(source)
        type_ = None if kind is None else kind.encode()
        done = self._libc.mount(
            source_bytes, os.fsencode(target), type_, ctypes.c_ulong(flags), options.encode()
        )
        self._check(done)

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
