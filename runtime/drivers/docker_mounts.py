"""
Directories for containers. What was proved to lie inside its root is an open descriptor,
and it is that directory which must be mounted, not whatever bears its name a moment later.
"""

import contextlib
import os
import re
from collections.abc import Generator
from pathlib import Path

from docker.types import DriverConfig
from docker.types import Mount as EngineMount

from ..errors import MountRejected
from ..model import ContainerSpec, Mount
from ..mounts import names_below, open_inside
from .docker_engine import Engine
from .docker_options import Own, own_mounts, unnamed_volume
from .docker_stage import staged, unstage

NFS_EXPORT = re.compile(r"(?P<server>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<export>/[^\0\n]*)")


class Mounts:
    """
    runc cannot bind /proc/<pid>/fd/N of another process (EINVAL: that mount belongs to
    another namespace). So the descriptor is bound to a private directory in `stage`, Docker
    is given that, and it is taken away once the container has its own. This needs root and
    dockerd in our mount namespace. Elsewhere Docker gets the real path, and a look after
    the start shows whether it was exchanged meanwhile: weaker, since it could be put back
    before we look.
    """

    def __init__(self, engine: Engine, instance: str, stage: Path | None) -> None:
        self._engine, self._instance, self._stage = engine, instance, stage

    @contextlib.contextmanager
    def given(self, spec: ContainerSpec) -> Generator["Given"]:
        """The spec's mounts, valid as sources until the block ends."""
        needs_stage = spec.mounts or spec.options.secrets or spec.options.empty_dirs
        stage = self._stage if needs_stage and self._can_stage() else None
        with contextlib.ExitStack() as stack:
            mounts: list[EngineMount] = []
            real: list[tuple[Mount, str, tuple[int, int]]] = []
            for mount in spec.mounts:
                if not mount.target.startswith("/") or not names_below(mount.target, mount.target):
                    raise MountRejected(mount.target, "the target must be an absolute path below /")
                if mount.nfs:
                    mounts.append(nfs_mount(mount, self._instance))
                    continue
                if mount.root is None:
                    raise MountRejected(mount.target, "it names neither a directory nor an export")
                fd = open_inside(mount.root, mount.path, target=mount.target)
                stack.callback(os.close, fd)
                try:
                    if stage is not None:
                        source = stack.enter_context(staged(stage, fd))
                    else:
                        source = os.readlink(f"/proc/self/fd/{fd}")
                        real.append((mount, source, _id(os.fstat(fd))))
                except OSError as error:
                    raise MountRejected(mount.target, f"cannot hand it to Docker: {error}") from error
                # type=bind: a source that is missing is an error, never made by the engine.
                mounts.append(EngineMount(mount.target, source, type="bind", read_only=mount.is_read_only))
            yield Given(mounts, own_mounts(spec, self._instance, stage, stack), real)

    def _can_stage(self) -> bool:
        if self._stage is None or os.geteuid() != 0:
            return False
        owner = self._engine.socket_owner()
        try:
            return os.readlink(f"/proc/{owner}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        except OSError:  # not on this machine, or not to be seen from here
            return False

    def sweep(self) -> None:
        """What a server that was killed left behind. Only ever unmounts and removes empty directories."""
        if self._stage is None or not self._stage.is_dir():
            return
        for folder in self._stage.iterdir():
            with contextlib.suppress(FileNotFoundError):
                unstage(folder)

    async def purge(self) -> None:
        await self._engine.call("call", self._remove_volumes)

    def _remove_volumes(self) -> None:
        found = self._engine.quick.volumes(filters={"label": f"homeport.instance={self._instance}"})
        for volume in found.get("Volumes") or ():
            self._engine.slow.remove_volume(volume["Name"], force=True)


class Given:
    def __init__(
        self, mounts: list[EngineMount], own: Own, real: list[tuple[Mount, str, tuple[int, int]]]
    ) -> None:
        self.mounts, self.fill, self._real = [*mounts, *own.mounts], own.fill, real

    def check(self) -> None:
        """After the start. Raises MountRejected where a path no longer leads to what was proved."""
        for mount, path, proved in self._real:
            try:
                is_same = _id(os.stat(path)) == proved
            except OSError:
                is_same = False
            if not is_same:
                raise MountRejected(mount.target, "the directory was exchanged while it was being mounted")


def nfs_mount(mount: Mount, instance: str) -> EngineMount:
    """
    An unnamed volume of the engine's local driver: it goes with its container (`v=True`).
    The path must exist in the export: the engine makes none. Read-only is an option of the
    mount itself, as 20.10 refuses the flag on unnamed volumes.
    """
    found = NFS_EXPORT.fullmatch(mount.nfs)
    if found is None:  # what stands before the colon goes into a list of options
        raise MountRejected(mount.target, f"{mount.nfs!r} is not of the form server:/export")
    names = [*names_below(found["export"], mount.target), *names_below(mount.path, mount.target)]
    access = "ro" if mount.is_read_only else "rw"
    options = {
        "type": "nfs",
        "o": f"addr={found['server'].strip('[]')},{access},nfsvers=4",
        "device": ":/" + "/".join(names),
    }
    return unnamed_volume(mount.target, instance, DriverConfig("local", options))


def _id(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
