"""What a mount may be here, and how it is given without root: as a link."""

import contextlib
import os
import posixpath
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...errors import MountRejected
from ...model import Mount
from ...mounts import names_below, open_inside

# Covering these would break every program, and nothing a user keeps lies there.
SYSTEM_TARGETS = ("/proc", "/sys")


def check_target(mount: Mount) -> None:
    """A target that no runtime can give. Raises MountRejected."""
    names_below(mount.target, mount.target)
    if not mount.target.startswith("/") or posixpath.normpath(mount.target) != mount.target.rstrip("/"):
        raise MountRejected(mount.target, "the target is not an absolute, plain path")
    if any(mount.target == path or mount.target.startswith(f"{path}/") for path in SYSTEM_TARGETS):
        raise MountRejected(mount.target, "this directory is the kernel's")
    names_below(mount.path, mount.target)


def check_hides_nothing(target: str, own: Path) -> None:
    """Of the process runtime's own files, which lie at `own`. Raises MountRejected."""
    real_own, real = os.path.realpath(own), os.path.realpath(target)
    if Path(real_own).is_relative_to(real) or Path(real).is_relative_to(real_own):
        raise MountRejected(target, "it would hide the process runtime's own files")


def open_sources(
    mounts: Sequence[Mount], own: Path, opened: contextlib.ExitStack, *, is_privileged: bool
) -> list[int]:
    """
    The directories to mount, proved to lie inside their roots; `opened` closes them.

    Args:
        own: where the process runtime keeps its files, which no mount may hide.

    Raises:
        MountRejected: this runtime cannot give one of them.
    """
    sources: list[int] = []
    taken: set[str] = set()
    for mount in mounts:
        check_target(mount)
        target = mount.target.rstrip("/")
        if target in taken:
            raise MountRejected(mount.target, "two mounts have this target")
        taken.add(target)
        if mount.nfs or mount.root is None:
            raise MountRejected(mount.target, "the process runtime cannot mount NFS exports")
        check_hides_nothing(target, own)
        if mount.is_read_only and not is_privileged:
            raise MountRejected(mount.target, "the process runtime makes mounts read-only only as root")
        source = open_inside(mount.root, mount.path, target=mount.target)
        opened.callback(os.close, source)
        sources.append(source)
    return sources


def link_mounts(root: Path, mounts: Sequence[Mount], sources: Sequence[int]) -> Path:
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


def may_mount() -> bool:
    """Whether we hold CAP_SYS_ADMIN, which is number 21. Source: capabilities(7)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False  # not Linux
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> 21 & 1)
