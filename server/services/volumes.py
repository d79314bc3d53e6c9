"""Volumes, who may mount what of them, and the directories that mounts become."""

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from sqlmodel import Session

from ...runtime.errors import MountRejected
from ...runtime.model import Mount
from ..domain.volumes import (
    CLAIM,
    LOCAL_DISK,
    Guarded,
    HostFolders,
    MountRequest,
    StoragePermission,
    Volume,
    VolumeSource,
    builtin_volumes,
    check_permission,
    clean_target,
    find_volume,
    split_path,
)
from ..domain.workload import Attempt, Workload
from ..errors import Conflict, Invalid, NotFound
from ..store import volumes as rows
from . import org
from .access import Caller
from .context import Services

# Source: leptonai 0.47.1, cli.node; the length is that of a DNS label.
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
EXPORT = re.compile(r"[A-Za-z0-9._-]+:/[^\0]*|\[[0-9A-Fa-f:]+\]:/[^\0]*")


def make_own_folders(folders: HostFolders) -> None:
    for volume in builtin_volumes("", folders.own):
        Path(volume.from_path).mkdir(parents=True, exist_ok=True)


def list_volumes(services: Services, node_group: str) -> list[Volume]:
    """The builtin ones first; also those that are not listed."""
    _check_group(services, node_group)
    return _volumes(services, node_group)


def get_volume(services: Services, node_group: str, name: str) -> Volume:
    volume = next((v for v in list_volumes(services, node_group) if v.name == name), None)
    if volume is None:
        raise NotFound(f"volume of node group {node_group!r}", name)
    return volume


async def create_volume(services: Services, volume: Volume) -> None:
    if NAME.fullmatch(volume.name) is None:
        raise Invalid(
            "name", f"{volume.name!r} must be at most 63 of a-z, 0-9 and '-', and begin with a letter"
        )
    volume = replace(volume, from_path=volume.from_path.strip())
    _check_source(volume)
    try:
        place = _place(services, volume)
    except ValueError as error:
        raise Invalid("from_path", str(error)) from error

    def insert(session: Session) -> None:
        taken = [*builtin_volumes(volume.node_group, services.folders.own)]
        taken += rows.added_volumes(session, volume.node_group)
        for other in taken:
            if other.name == volume.name:
                raise Conflict(f"node group {volume.node_group!r} already has a volume named {volume.name!r}")
            if _same_place(services, other, place):
                raise Conflict(f"volume {other.name!r} is already at {volume.from_path}; mount that one")
        rows.insert_volume(session, volume)

    _check_group(services, volume.node_group)
    await services.store.write(insert)


async def delete_volume(services: Services, node_group: str, name: str) -> None:
    """What the directory holds is kept; a volume made there again finds it."""
    volume = get_volume(services, node_group, name)
    if volume.is_builtin:
        raise Conflict(f"volume {name!r} is part of Homeport and cannot be deleted")

    def remove(session: Session) -> None:
        known = rows.added_volumes(session, node_group)
        for workload in rows.active_workloads(session):
            if workload.spec.node_groups and node_group not in workload.spec.node_groups:
                continue
            if any(
                (v := find_volume(m.volume, known)) and v.name == name
                for m in workload.spec.mounts
                if m.volume != LOCAL_DISK
            ):
                raise Conflict(
                    f"volume {name!r} is mounted by {workload.kind} {workload.id}; stop or remove it first"
                )
        rows.remove_volume(session, volume)

    await services.store.write(remove)


# -- permissions ---------------------------------------------------------------


def list_permissions(services: Services, node_group: str, volume: str) -> list[StoragePermission]:
    get_volume(services, node_group, volume)
    found = services.store.read(lambda s: rows.permissions_in(s, node_group))
    return [rule for rule in found if rule.volume == volume]


async def set_permission(services: Services, rule: StoragePermission) -> None:
    """One rule for a path; a second one replaces it."""
    get_volume(services, rule.node_group, rule.volume)
    _check_prefix(rule.path_prefix)
    if rule.is_by_user == bool(rule.allowed_users):
        raise Invalid("allowed_users", 'name users or "*", or set subfolder_policy to "by_user"; one of both')
    await services.store.write(lambda s: rows.save_permission(s, rule))


async def delete_permission(services: Services, node_group: str, volume: str, path_prefix: str) -> None:
    get_volume(services, node_group, volume)
    _check_prefix(path_prefix)
    is_found = await services.store.write(
        lambda s: rows.remove_permission(s, node_group, volume, path_prefix)
    )
    if not is_found:
        raise NotFound(f"permission of volume {volume!r}", path_prefix)


# -- mounts ----------------------------------------------------------------------


def check_mounts(
    services: Services, caller: Caller, node_groups: Sequence[str], mounts: Sequence[MountRequest]
) -> None:
    """
    Args:
        node_groups: where the workload may run; empty means anywhere. A volume must be in each of them.

    Raises:
        Invalid: `spec.mounts[i].path`, `.mount_path` or `.from` asks for what cannot be given.
    """
    targets: dict[str, int] = {}
    for i, mount in enumerate(mounts):
        at = f"spec.mounts[{i}]"
        try:
            target = clean_target(mount.target)
        except ValueError as error:
            raise Invalid(f"{at}.mount_path", str(error)) from error
        if target in targets:
            raise Invalid(
                f"{at}.mount_path", f"{target} is also the one of mount {targets[target]}; use another folder"
            )
        targets[target] = i
        try:
            split_path(mount.path)
        except ValueError as error:
            raise Invalid(f"{at}.path", str(error)) from error
    for group in dict.fromkeys(node_groups or _groups(services)) if mounts else ():
        if group not in _groups(services):
            continue  # who creates the workload names that field
        volumes = list_volumes(services, group)
        guarded = _guarded(services, group, volumes)
        for i, mount in enumerate(mounts):
            at = f"spec.mounts[{i}]"
            volume = None if mount.volume == LOCAL_DISK else find_volume(mount.volume, volumes)
            if volume is None and mount.volume != LOCAL_DISK:
                known = ", ".join(v.mount_name for v in volumes)
                raise Invalid(
                    f"{at}.from",
                    f"node group {group!r} has no volume {mount.volume!r}; there are {known}, and "
                    f"{LOCAL_DISK} for the node's own disk",
                )
            try:
                wanted = _wanted(services, volume, mount.path)
            except ValueError as error:
                raise Invalid(f"{at}.{'path' if volume is None else 'from'}", str(error)) from error
            if refusal := check_permission(caller.owner, wanted, guarded):
                raise Invalid(f"{at}.path", refusal)


def resolve_mounts(services: Services, node_group: str, mounts: Sequence[MountRequest]) -> tuple[Mount, ...]:
    """
    What the runtime shall mount, looked at anew: volumes and links may have changed since the workload came.

    Raises:
        MountRejected: a volume is gone, or its directory is not (any more) one that may be given.
    """
    if not mounts:
        return ()
    volumes = _volumes(services, node_group)
    has_rules = bool(_guarded(services, node_group, volumes))
    found: list[Mount] = []
    for mount in mounts:
        volume = None if mount.volume == LOCAL_DISK else find_volume(mount.volume, volumes)
        if volume is None and mount.volume != LOCAL_DISK:
            raise MountRejected(mount.target, f"node group {node_group!r} has no volume {mount.volume!r} now")
        try:
            one = _mount(services, volume, mount)
        except ValueError as error:
            raise MountRejected(mount.target, str(error)) from error
        if has_rules and one.root is not None:
            straight = one.root.joinpath(*split_path(one.path))
            if straight.resolve() != straight:
                # Else a link put into one's own folder would open somebody else's.
                raise MountRejected(
                    mount.target,
                    f"{mount.path} leads through a symbolic link, and node group {node_group!r} has storage "
                    "permissions; mount the folder itself",
                )
        found.append(one)
    return tuple(found)


def mounts_of(services: Services, workload: Workload, attempt: Attempt) -> tuple[Mount, ...]:
    """A workload's mounts on the node that its attempt goes to, now."""
    if not workload.spec.mounts:
        return ()
    group = next((n.node_group for n in org.nodes_now(services) if n.id == attempt.node), "")
    mounts = [m for m in workload.spec.mounts if not m.volume.startswith(CLAIM)]
    claims = [m for m in workload.spec.mounts if m.volume.startswith(CLAIM)]
    return (
        *resolve_mounts(services, group, mounts),
        *(_claim(services, workload.workspace, claim) for claim in claims),
    )


def _claim(services: Services, workspace: str, mount: MountRequest) -> Mount:
    """What one project claims no other sees, whatever its name."""
    try:
        parts = split_path(mount.volume.removeprefix(CLAIM))
        target = clean_target(mount.target)
    except ValueError as error:
        raise MountRejected(mount.target, str(error)) from error
    root = services.folders.own / "pvc" / workspace
    return Mount(target, root, "/" + "/".join(parts), mount.is_read_only)


def has_claim(services: Services, workspace: str, name: str) -> bool:
    """Whether it has been mounted before: claims are made at their first use."""
    return (services.folders.own / "pvc" / workspace / name).is_dir()


def disk_usage(services: Services) -> tuple[int, int]:
    """Total and used bytes of the file system that holds the volumes."""
    usage = shutil.disk_usage(services.folders.own)
    return usage.total, usage.used


def _volumes(services: Services, node_group: str) -> list[Volume]:
    added = services.store.read(lambda s: rows.added_volumes(s, node_group))
    return [*builtin_volumes(node_group, services.folders.own), *added]


# -- places ----------------------------------------------------------------------


def _mount(services: Services, volume: Volume | None, mount: MountRequest) -> Mount:
    target = clean_target(mount.target)
    if volume is None:
        path = Path(str(_wanted(services, None, mount.path)))
        root = next(a for a in _allowed(services) if path.is_relative_to(a))
        return Mount(target, root, "/" + "/".join(path.relative_to(root).parts), mount.is_read_only)
    path = "/" + "/".join(split_path(mount.path))
    place = _place(services, volume)
    if volume.is_export:
        return Mount(target, None, path, mount.is_read_only, nfs=volume.from_path)
    return Mount(target, Path(str(place)), path, mount.is_read_only)


def _wanted(services: Services, volume: Volume | None, path: str) -> PurePosixPath:
    """The place a mount asks for. Raises ValueError where it may not be given."""
    if volume is not None:
        return _place(services, volume).joinpath(*split_path(path))
    if not path.startswith("/"):
        raise ValueError(f"a mount from {LOCAL_DISK} needs an absolute directory of the host, not {path!r}")
    return PurePosixPath(_allowed_directory(services, path))


def _place(services: Services, volume: Volume) -> PurePosixPath:
    """Where a volume is: a directory with its links followed, or `server:/export`."""
    if volume.is_export:
        host, _, export = volume.from_path.partition(":/")
        return PurePosixPath(f"{host}:", *split_path(export))
    if volume.is_builtin:
        return PurePosixPath(Path(volume.from_path).resolve())
    if not volume.from_path:
        # A volume's name has no dot, so this is never the directory of a builtin one.
        return PurePosixPath((services.folders.own / f"{volume.node_group}.{volume.name}").resolve())
    return PurePosixPath(_allowed_directory(services, volume.from_path))


def _allowed_directory(services: Services, path: str) -> Path:
    split_path(path)
    found = Path(path).resolve()
    if any(found.is_relative_to(allowed) for allowed in _allowed(services)):
        return found
    given = ", ".join(str(a) for a in services.folders.allowed) or "none is set"
    raise ValueError(
        f"{path} of the host is not at or below an allowed directory ({given}); "
        f"start the server with --allow-host-path {path}"
    )


def _allowed(services: Services) -> list[Path]:
    return [a.resolve() for a in services.folders.allowed]


def _same_place(services: Services, other: Volume, place: PurePosixPath) -> bool:
    try:
        return _place(services, other) == place
    except ValueError:  # its --allow-host-path was taken back
        return False


def _guarded(services: Services, node_group: str, volumes: Iterable[Volume]) -> list[Guarded]:
    rules = services.store.read(lambda s: rows.permissions_in(s, node_group))
    found: list[Guarded] = []
    for volume in volumes:
        mine = tuple(r for r in rules if r.volume == volume.name)
        if mine:
            try:
                found.append(Guarded(_place(services, volume), volume.name, mine))
            except ValueError:
                continue  # nobody can mount it now, whatever the rules say
    return found


# -- checks ----------------------------------------------------------------------


def _groups(services: Services) -> list[str]:
    """Those that have nodes."""
    return list(dict.fromkeys(n.node_group for n in org.nodes_now(services)))


def _check_group(services: Services, node_group: str) -> None:
    if node_group not in {p.name for p in org.list_node_pools(services)}:
        raise NotFound("node group", node_group)


def _check_source(volume: Volume) -> None:
    path = volume.from_path
    if not path or path.startswith("/"):
        return
    if volume.source is not VolumeSource.NODE_NFS:
        raise Invalid(
            "from_path", f"{path!r} is not absolute; a local volume is a directory such as /srv/data"
        )
    if EXPORT.fullmatch(path) is None:
        raise Invalid(
            "from_path", f"{path!r} is neither an absolute directory nor of the form server:/export"
        )


def _check_prefix(path_prefix: str) -> None:
    try:
        split_path(path_prefix)
    except ValueError as error:
        raise Invalid("path_prefix", str(error)) from error
    if not path_prefix.startswith("/"):
        raise Invalid("path_prefix", f"{path_prefix!r} is not absolute; begin it with '/'")
