"""Volumes and their permissions: pieces for use inside `Store.read` and `Store.write`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from typing import Any

from sqlmodel import Session, col, delete, select

from ..domain.volumes import StoragePermission, Volume, VolumeSource, split_path
from ..domain.workload import TERMINAL, Workload
from .documents import workload_from
from .tables import StoragePermissionRow, VolumeRow, WorkloadRow


def added_volumes(session: Session, node_group: str) -> list[Volume]:
    query = select(VolumeRow).where(VolumeRow.node_group == node_group).order_by(VolumeRow.name)
    return [_volume_from(row.doc) for row in session.exec(query)]


def insert_volume(session: Session, volume: Volume) -> None:
    session.add(VolumeRow(node_group=volume.node_group, name=volume.name, doc=_doc(volume)))
    session.flush()


def remove_volume(session: Session, volume: Volume) -> None:
    """With its permissions; otherwise they would come to life again in a later volume of that name."""
    session.exec(
        delete(VolumeRow).where(
            col(VolumeRow.node_group) == volume.node_group, col(VolumeRow.name) == volume.name
        )
    )
    session.exec(
        delete(StoragePermissionRow).where(
            col(StoragePermissionRow.node_group) == volume.node_group,
            col(StoragePermissionRow.volume) == volume.name,
        )
    )


def permissions_in(session: Session, node_group: str) -> list[StoragePermission]:
    query = select(StoragePermissionRow).where(StoragePermissionRow.node_group == node_group)
    query = query.order_by(StoragePermissionRow.volume, StoragePermissionRow.prefix)
    return [_permission_from(row.doc) for row in session.exec(query)]


def save_permission(session: Session, rule: StoragePermission) -> None:
    key = (rule.node_group, rule.volume, _prefix(rule.path_prefix))
    row = session.get(StoragePermissionRow, key)
    if row is None:
        row = StoragePermissionRow(node_group=key[0], volume=key[1], prefix=key[2], doc="")
    row.doc = _doc(rule)
    session.add(row)
    session.flush()


def remove_permission(session: Session, node_group: str, volume: str, path_prefix: str) -> bool:
    row = session.get(StoragePermissionRow, (node_group, volume, _prefix(path_prefix)))
    if row is not None:
        session.delete(row)
    return row is not None


def active_workloads(session: Session) -> Sequence[Workload]:
    """Those that have not ended, oldest first."""
    ended = [p.value for p in TERMINAL]
    query = select(WorkloadRow).where(col(WorkloadRow.phase).not_in(ended)).order_by(col(WorkloadRow.seq))
    return [workload_from(row.doc) for row in session.exec(query)]


def _prefix(path: str) -> str:
    return "/" + "/".join(split_path(path))


def _doc(thing: Volume | StoragePermission) -> str:
    def plain(value: object) -> object:
        return value.value if isinstance(value, Enum) else value

    return json.dumps(asdict(thing), default=plain, separators=(",", ":"))


def _volume_from(doc: str) -> Volume:
    raw: dict[str, Any] = json.loads(doc)
    raw["source"] = VolumeSource(raw["source"])
    return Volume(**raw)


def _permission_from(doc: str) -> StoragePermission:
    raw: dict[str, Any] = json.loads(doc)
    raw["allowed_users"] = tuple(raw["allowed_users"])
    return StoragePermission(**raw)
