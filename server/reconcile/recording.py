"""Writes down what was observed of attempts, and what follows from it for their workloads."""

import logging
from collections.abc import Callable, Iterable, Sequence

from sqlmodel import Session

from ..crashpoints import CrashPoint
from ..domain.workload import Attempt
from ..errors import StoreUnavailable
from ..store.writes import add_event, load_workload, preload, save_attempts, save_workload
from .launches import Machine
from .replicas import Change, Record, workload_of
from .told import as_told_since

log = logging.getLogger(__name__)


class Recorder:
    """Args: poke: wakes the loop, for what follows."""

    def __init__(self, machine: Machine, poke: Callable[[], None]) -> None:
        self._m, self._poke = machine, poke

    async def record(self, records: Sequence[Record | Change]) -> None:
        """
        All of them in one write, each with its event. Where one cannot be written the others are, and it is
        looked at again.
        """
        if not records:
            return
        try:
            await self._write(records)
        except StoreUnavailable:
            raise
        except Exception:  # one workload's trouble must not hold up everybody's
            for mine in _by_workload(records):
                try:
                    await self._write(mine)
                except StoreUnavailable:
                    raise
                except Exception:
                    log.exception("%s: what was observed cannot be written", workload_of(mine[0]))
        await self._m.crash.reach(CrashPoint.OBSERVED)
        self._poke()

    async def _write(self, records: Sequence[Record | Change]) -> None:
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


def _by_workload(records: Sequence[Record | Change]) -> Iterable[Sequence[Record | Change]]:
    parts: dict[str, list[Record | Change]] = {}
    for record in records:
        parts.setdefault(workload_of(record), []).append(record)
    return parts.values()
