"""Writes down what was observed of attempts, and what follows from it for their workloads."""

from collections.abc import Callable, Sequence

from sqlmodel import Session

from ..crashpoints import CrashPoint
from ..domain.workload import Attempt
from ..store.writes import add_event, load_workload, preload, save_attempts, save_workload
from .launches import Machine
from .replicas import Change, Record
from .told import as_told_since


class Recorder:
    """Args: poke: wakes the loop, for what follows."""

    def __init__(self, machine: Machine, poke: Callable[[], None]) -> None:
        self._m, self._poke = machine, poke

    async def record(self, records: Sequence[Record | Change]) -> None:
        """All of them in one write, each with its event."""
        if not records:
            return
        now = self._m.clock.now_ms()
        observed: dict[str, list[Attempt]] = {}
        for record in (r for r in records if isinstance(r, Record)):
            observed.setdefault(record.attempt.workload_id, []).append(record.attempt)

        def save(session: Session) -> None:
            preload(session, observed)
            for workload_id, attempts in observed.items():
                save_attempts(session, workload_id, attempts, as_told_since)
            for record in records:
                if isinstance(record, Record):
                    said, workload_id = record, record.attempt.workload_id
                elif load_workload(session, record.before.id) == record.before:
                    save_workload(session, record.advance.workload)
                    said, workload_id = record.advance, record.before.id
                else:
                    continue  # the user changed it meanwhile; the next pass looks again
                type_ = "Warning" if said.is_warning else "Normal"
                add_event(session, workload_id, now, said.reason, said.message, type_=type_)

        await self._m.store.write(save)
        await self._m.crash.reach(CrashPoint.OBSERVED)
        self._poke()
