"""The private place through which directories reach the engine, and the mounts of the kernel for it."""

import contextlib
import ctypes
import logging
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
# <sys/mount.h>
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
MAX_STACKED = 64  # mounts on one point, swept in turn


@contextlib.contextmanager
def staging_point(stage: Path) -> Generator[Path]:
    """An empty directory to mount on; what was mounted is gone from there once the block has ended."""
    stage.mkdir(parents=True, exist_ok=True)
    stage.chmod(0o700)
    folder = Path(tempfile.mkdtemp(dir=stage))
    try:
        point = folder / "mount"
        point.mkdir()
        yield point
    finally:
        # The path vanishes before the mount does: a start that comes late finds no source,
        # never an empty directory.
        gone = folder.with_name(f"{folder.name}.gone")
        folder.rename(gone)
        unstage(gone)


@contextlib.contextmanager
def staged(stage: Path, fd: int) -> Generator[str]:
    """A path to the directory `fd`, under which it stays as long as the block lasts."""
    with staging_point(stage) as point:
        # With what is mounted below it, and private at once: a detach would otherwise
        # also unmount the originals of those.
        mount(f"/proc/self/fd/{fd}", point, MS_BIND | MS_REC)
        mount("none", point, MS_REC | MS_PRIVATE)
        yield str(point)


def unstage(folder: Path) -> None:
    point = folder / "mount"
    try:
        for _ in range(MAX_STACKED):
            try:
                mount("none", point, MS_REC | MS_PRIVATE)  # a killed server may not have come so far
                unmount(point)
            except OSError:  # EINVAL: it is no mount (any more)
                break
        with contextlib.suppress(FileNotFoundError):
            point.rmdir()
        folder.rmdir()
    except OSError as error:
        log.warning("%s stays, it cannot be removed: %s", folder, error)


def mount(source: str, target: Path, flags: int, *, kind: str | None = None, options: str = "") -> None:
    """`kind`: of a file system that is made, with its options."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    type_ = None if kind is None else kind.encode()
    if libc.mount(source.encode(), os.fsencode(target), type_, ctypes.c_ulong(flags), options.encode()) != 0:
        raise _os_error(target)


def unmount(target: Path) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
        raise _os_error(target)


def _os_error(path: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))
