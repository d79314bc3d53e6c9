"""Leases of GPUs: pieces of a write. A device's portions never add up to more than the whole."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, exists, literal_column
from sqlalchemy import select as any_select
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import col, select

from ..domain.evictions import EPSILON
from ..domain.workload import Attempt
from ..errors import Conflict
from .found import prepared
from .tables import LeaseRow

_l = LeaseRow
HELD = prepared(
    select(col(_l.slice), col(_l.portion), col(_l.replica_id), col(_l.number)).where(
        col(_l.node) == bindparam("node"), col(_l.gpu_uuid) == bindparam("uuid")
    )
)
TAKE = prepared(
    insert(_l).values({
        name: bindparam(name) for name in ("node", "gpu_uuid", "slice", "portion", "replica_id", "number")
    })
)  # fmt: skip
_anybody = exists().where(col(_l.node) == bindparam("node"), col(_l.gpu_uuid) == bindparam("uuid"))
TAKE_WHOLE = prepared(
    insert(_l).from_select(
        ["node", "gpu_uuid", "slice", "portion", "replica_id", "number"],
        any_select(
            bindparam("node"), bindparam("uuid"), literal_column("0"), literal_column("1.0"),
            bindparam("id"), bindparam("n"),
        ).where(~_anybody),
    )
)  # fmt: skip
FREE = prepared(
    delete(_l).where(
        col(_l.gpu_uuid) == bindparam("uuid"),
        col(_l.replica_id) == bindparam("id"),
        col(_l.number) == bindparam("n"),
    )
)


def check_devices(attempt: Attempt, devices: Mapping[str, Collection[str]]) -> None:
    """
    Args:
        devices: UUIDs of what each node has now.

    Raises:
        Conflict: it was promised a device that its node does not have.
    """
    unknown = [uuid for uuid in attempt.gpu_uuids if uuid not in devices.get(attempt.node, ())]
    if unknown:
        raise Conflict(f"node {attempt.node} has no GPU {unknown[0]}; {attempt.replica_id} is placed anew")


def take_leases(database: sqlite3.Connection, attempt: Attempt) -> None:
    """
    Each of its devices, in the first slice that nobody has.

    Raises:
        Conflict: less of a device is free than it needs.
    """
    for uuid in attempt.gpu_uuids:
        if attempt.gpu_portion == 1 and _take_whole(database, attempt, uuid):
            continue
        held = _held(database, attempt.node, uuid)
        if (free := _free(held)) < attempt.gpu_portion - EPSILON:
            raise Conflict(
                f"GPU {uuid} is already taken: {free:g} of it is free, and {attempt.replica_id} needs "
                f"{attempt.gpu_portion:g}"
            )
        _take(database, attempt, uuid, held)


def restore_leases(database: sqlite3.Connection, attempt: Attempt) -> None:
    """Of a live attempt that lacks some of its own; where others have the device it stays without."""
    for uuid in attempt.gpu_uuids:
        held = _held(database, attempt.node, uuid)
        is_own = any((h.replica_id, h.number) == attempt.key for h in held)
        if not is_own and _free(held) >= attempt.gpu_portion - EPSILON:
            _take(database, attempt, uuid, held)


def free_leases(database: sqlite3.Connection, attempt: Attempt) -> None:
    for uuid in attempt.gpu_uuids:
        database.execute(FREE, {"uuid": uuid, "id": attempt.replica_id, "n": attempt.number})


def _take_whole(database: sqlite3.Connection, attempt: Attempt, uuid: str) -> bool:
    """Whether nobody had anything of it."""
    values = {"node": attempt.node, "uuid": uuid, "id": attempt.replica_id, "n": attempt.number}
    return database.execute(TAKE_WHOLE, values).rowcount == 1


class _Held(NamedTuple):
    slice: int
    portion: float
    replica_id: str
    number: int


def _held(database: sqlite3.Connection, node: str, uuid: str) -> list[_Held]:
    return [_Held(*row) for row in database.execute(HELD, {"node": node, "uuid": uuid})]


def _free(held: Sequence[_Held]) -> float:
    return max(0.0, 1 - sum(h.portion for h in held))


def _take(database: sqlite3.Connection, attempt: Attempt, uuid: str, held: Sequence[_Held]) -> None:
    slices = {h.slice for h in held}
    values = {
        "node": attempt.node, "gpu_uuid": uuid, "portion": attempt.gpu_portion,
        "slice": next(i for i in range(len(slices) + 1) if i not in slices),
        "replica_id": attempt.replica_id, "number": attempt.number,
    }  # fmt: skip
    database.execute(TAKE, values)
