"""Volumes of a node group, and what a workload asks of them."""

from dataclasses import dataclass
from enum import Enum


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
    """

    node_group: str
    name: str
    source: VolumeSource
    from_path: str = ""
    size_gb: int = 0
    creation_mode: str = "mkdir"
    is_listed: bool = True


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
