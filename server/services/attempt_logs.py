"""Logs of attempts: followed live, and asked for by time. Both read the files that the pumps write."""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ...runtime.clock import Clock
from ..domain.workload import Attempt
from ..store.log_files import LogFiles
from ..store.store import Store

LOOK_S = 1.0  # an attempt that never wrote anything wakes nobody, so its end is looked for
PATIENCE_MS = 10_000  # from an attempt's end until its log is sealed, or lost with its container


@dataclass(frozen=True, slots=True)
class LogSources:
    store: Store
    clock: Clock
    files: LogFiles
    closing: asyncio.Event


@dataclass(frozen=True, slots=True)
class LogLine:
    replica_id: str
    attempt: int
    at_ns: int
    text: str


async def follow_log(sources: LogSources, attempt: Attempt) -> AsyncIterator[bytes]:
    """Every byte once, from the first; ends when the attempt has ended and all is told."""
    files, offset = sources.files, 0
    while not sources.closing.is_set():
        growth = files.growth(attempt.key)
        try:
            is_last = _is_whole(sources, attempt)
            data, offset = files.read(attempt.key, offset)
            if data:
                yield data
            elif is_last:
                return
            else:
                await _either(growth, sources.closing, sources.clock)
        finally:
            files.forget(attempt.key, growth)


async def settle(sources: LogSources, attempts: Sequence[Attempt]) -> None:
    """Returns when what the ended ones wrote is in their files, so that an answer made then is whole."""
    for attempt in attempts:
        while not attempt.is_live and not sources.closing.is_set():
            growth = sources.files.growth(attempt.key)
            try:
                if _is_whole(sources, attempt):
                    break
                await _either(growth, sources.closing, sources.clock)
            finally:
                sources.files.forget(attempt.key, growth)


def _is_whole(sources: LogSources, attempt: Attempt) -> bool:
    """Nothing will be added: sealed, or it never had a container, or lost its log with it."""
    if sources.files.is_sealed(attempt.key):
        return True
    current = sources.store.reads.attempt(attempt.replica_id, attempt.number) or attempt
    if current.is_live:
        return False
    ended_ms = current.finished_at_ms or 0
    return current.started_at_ms is None or sources.clock.now_ms() > ended_ms + PATIENCE_MS


async def _either(growth: asyncio.Event, closing: asyncio.Event, clock: Clock) -> None:
    waits = [asyncio.ensure_future(w) for w in (growth.wait(), closing.wait(), clock.sleep(LOOK_S))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waits, return_exceptions=True)


async def read_lines(sources: LogSources, attempts: Sequence[Attempt]) -> list[LogLine]:
    """All of these attempts' lines so far; of those that have ended every one."""
    await settle(sources, attempts)
    return list_lines(sources, attempts, start_ns=0, end_ns=2**63, limit=2**31)


def list_lines(
    sources: LogSources,
    attempts: Sequence[Attempt],
    *,
    start_ns: int,
    end_ns: int,
    limit: int,
    needle: str = "",
    newest_first: bool = False,
) -> list[LogLine]:
    """
    Lines of these attempts in [start, end), at most `limit`, in order of time and then
    of replica: the same question has the same answer, once the span lies in the past.
    """
    wanted = needle.encode()

    def of(attempt: Attempt):  # type: ignore[no-untyped-def]
        for at_ns, line in sources.files.lines(attempt.key, start_ns, end_ns):
            if wanted in line:
                yield at_ns, attempt.replica_id, attempt.number, line

    merged = heapq.merge(*(of(a) for a in attempts))
    if newest_first:
        found = heapq.nlargest(limit, merged)
    else:
        found = [item for item, _ in zip(merged, range(limit), strict=False)]
    return [LogLine(r, n, at, line.decode(errors="replace")) for at, r, n, line in found]
