"""Rollouts on this machine: where there is no room for old and new at a time, the old one ends first."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlmodel import Session

from ...scheduler.model import Unplaced
from ...scheduler.plan import plan
from ..domain.endpoints import REPLACED, has_leaving, is_surge, room_maker
from ..domain.rollouts import as_started, resumed
from ..domain.workload import Attempt, Workload
from ..snapshot import Ask, Room
from ..store.store import Store
from ..store.writes import add_event, load_attempts, load_workload, save_attempt, save_workload
from .host_ports import wanted_ports


def surge_refusal(workload: Workload, attempts: Sequence[Attempt], driver: str) -> str:
    """Why two replicas of it cannot be on one machine at a time, whatever is free; "" where they can."""
    serving = workload.spec.serving
    if serving is None or not (is_surge(workload, attempts) or has_leaving(workload, attempts)):
        return ""
    if driver == "process" and serving.port is not None:
        return f"the old one listens on port {serving.port}, and processes share the ports of the host"
    return "the old one has the ports that are published on the host" if wanted_ports(workload) else ""


async def end_first(
    store: Store, workload: Workload, attempts: Sequence[Attempt], why: Unplaced, room: Room | None, now: int
) -> bool:
    """
    Whether an old replica is to end, so that its successor can start in its place.

    Args:
        room: None where its end is known to help; else it is looked whether it would.
    """
    old = room_maker(workload, attempts)
    if old is None:
        return False
    if room is not None:
        ask = Ask(as_started(workload), (0,))
        if ask.id not in plan(room.without(old, ask)).placed:
            return False

    def drain(session: Session) -> bool:
        if load_workload(session, workload.id) != workload:
            return False
        maker = room_maker(workload, load_attempts(session, workload.id))
        if maker is None or maker.key != old.key:
            return False
        save_attempt(session, replace(maker, draining_at_ms=now, draining_why=REPLACED))
        message = f"{old.replica_id} ends before its successor starts: {'; '.join(why.reasons)}"
        add_event(session, workload.id, now, "Recreating", message)
        return True

    return await store.write(drain)


async def resume_rollouts(store: Store, workloads: Mapping[str, Workload], now_ms: int) -> None:
    """Asked after a start: the time without a server is not counted as time without progress."""
    rolling = [w for w in workloads.values() if resumed(w, now_ms) != w]

    def save(session: Session) -> None:
        for current in (load_workload(session, w.id) for w in rolling):
            if current is not None:
                save_workload(session, resumed(current, now_ms))

    if rolling:
        await store.write(save)
