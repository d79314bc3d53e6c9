"""Volumes of a node group, what a workload asks of them, and who may have which folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any


class VolumeSource(Enum):
    """Where a volume's bytes are; values as in a mount's `from` (`node-nfs:<name>`)."""

    NODE_LOCAL = "node-local"
    NODE_NFS = "node-nfs"


@dataclass(frozen=True, slots=True)
class Volume:
    """
    Args:
        from_path: an absolute directory of the host, or `server:/export`;
            "" is a directory of Homeport's own below its data directory.
        creation_mode: kept and given back; a missing directory is always made.
        is_builtin: there from the start; it cannot be deleted.
        extras: fields of the client's request that Homeport does not act on.
    """

    node_group: str
    name: str
    source: VolumeSource
    from_path: str = ""
    size_gb: int = 0
    creation_mode: str = ""
    is_listed: bool = True
    is_builtin: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_export(self) -> bool:
        """A real NFS export, which the engine mounts."""
        return bool(self.from_path) and not self.from_path.startswith("/")

    @property
    def mount_name(self) -> str:
        return f"{self.source.value}:{self.name}" if self.is_listed else self.name


@dataclass(frozen=True, slots=True)
class MountRequest:
    """
    Args:
        volume: as the client names it: `node-nfs:<name>`, `node-local:<name>`,
            plain `node-local`, or a classic file system such as `default`.
        path: inside the volume, `/` is its root.
        target: absolute path in the container.
    """

    volume: str
    path: str
    target: str
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class StoragePermission:
    """
    Who may mount what lies at or below `path_prefix`; a volume without any rule is everybody's.

    Args:
        allowed_users: e-mail addresses, or `*` for everyone.
        is_by_user: instead of that, each user has the folder of his name below the prefix.
    """

    node_group: str
    volume: str
    path_prefix: str
    allowed_users: tuple[str, ...] = ()
    is_by_user: bool = False

    def grants(self, owner: str, path: tuple[str, ...]) -> bool:
        prefix = split_path(self.path_prefix)
        if self.is_by_user:
            name = user_folder(owner)
            return bool(name) and path[: len(prefix) + 1] == (*prefix, name)
        allowed = {u.casefold() for u in self.allowed_users}
        return path[: len(prefix)] == prefix and bool(allowed & {"*", owner.casefold()})

    def __str__(self) -> str:
        if self.is_by_user:
            return f"{self.path_prefix.rstrip('/')}/<your user name> for each user"
        return f"{self.path_prefix} for {', '.join(self.allowed_users)}"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A volume that has rules; `place` as in `check_permission`."""

    place: PurePosixPath
    volume: str
    rules: tuple[StoragePermission, ...]


@dataclass(frozen=True, slots=True)
class HostFolders:
    """
    Which directories of the host workloads may be given.

    Args:
        own: where Homeport makes its own volumes.
        allowed: what `--allow-host-path` names; absolute.
    """

    own: Path
    allowed: tuple[Path, ...] = ()


CLAIM = "pvc:"  # a mount from this and a name: a directory of the workload's project, made at its first use
LOCAL_DISK = VolumeSource.NODE_LOCAL.value  # a mount from this, without a name, is the node's own disk
CLASSIC = "default"
KERNELS_OWN = ("proc", "sys")  # below them no runtime mounts anything
# Source: leptonai 0.47.1, api.v2.job_validation; exactly these, what lies below others may be mounted.
SYSTEM_FOLDERS = frozenset(
    {
        "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/media", "/opt", "/proc", "/run", "/sbin", "/srv",
        "/sys", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin", "/var", "/sys/fs/cgroup",
        "/sys/kernel/security", "/proc/sys", "/proc/bus",
    }
)  # fmt: skip


def builtin_volumes(node_group: str, own: Path) -> tuple[Volume, ...]:
    """What a fresh server has: the shared file system, and the classic one, which no list shows."""
    shared = "lepton-shared-fs"
    nfs = VolumeSource.NODE_NFS
    return (
        Volume(node_group, shared, nfs, str(own / shared), creation_mode="none", is_builtin=True),
        Volume(node_group, CLASSIC, nfs, str(own / CLASSIC), is_listed=False, is_builtin=True),
    )


def find_volume(wanted: str, volumes: Sequence[Volume]) -> Volume | None:
    """By what a mount's `from` says; clients before 0.27.3 may leave it empty and mean the classic one."""
    source, colon, name = wanted.partition(":")
    for volume in volumes:
        if colon and volume.name == name and volume.source.value == source:
            return volume
        if not colon and volume.name == (wanted or CLASSIC):
            return volume
    return None


def split_path(path: str) -> tuple[str, ...]:
    """
    The components of a path; empty ones and `.` say nothing and are left out.

    Raises:
        ValueError: the path has `..` or a NUL.
    """
    if "\0" in path:
        raise ValueError("a path cannot hold a NUL character")
    parts = tuple(p for p in path.split("/") if p not in ("", "."))
    if ".." in parts:
        raise ValueError(f"{path!r} must not contain '..'; write the path without it")
    return parts


def clean_target(target: str) -> str:
    """
    The mount path without anything redundant.

    Raises:
        ValueError: nothing may be mounted there; the message says what may.
    """
    parts = split_path(target)
    if not target.startswith("/"):
        raise ValueError(f"{target!r} is not absolute; begin it with '/'")
    clean = "/" + "/".join(parts)
    if clean == "/":
        raise ValueError("nothing can be mounted at '/', the container's own root; use a folder such as /mnt")
    if parts[0] in KERNELS_OWN:
        raise ValueError(f"/{parts[0]} and all below it is the kernel's; mount elsewhere, as at /mnt")
    if clean in SYSTEM_FOLDERS:
        raise ValueError(f"{clean} is a system folder; mount below it or elsewhere, for example at /mnt")
    return clean


def user_folder(owner: str) -> str:
    """`ada@example.org` -> `ada`; "" for a name that could be no folder."""
    name = owner.partition("@")[0]
    return "" if name in ("", ".", "..") or "/" in name or "\0" in name else name


def check_permission(owner: str, wanted: PurePosixPath, guarded: Sequence[Guarded]) -> str | None:
    """
    Why `owner` may not have `wanted`, or None.

    Places are host directories, or `server:/export/...` for real NFS. The rules of
    a volume hold for its bytes by whatever name they are reached: through another
    volume, from the node's disk, or from a folder above, which would show it whole.
    """
    for one in guarded:
        if wanted.is_relative_to(one.place):
            path = wanted.relative_to(one.place).parts
        elif one.place.is_relative_to(wanted):
            path = ()
        else:
            continue
        if not any(rule.grants(owner, path) for rule in one.rules):
            rules = "; ".join(str(r) for r in one.rules)
            return f"{owner} may not mount /{'/'.join(path)} of volume {one.volume!r}; it allows {rules}"
    return None
