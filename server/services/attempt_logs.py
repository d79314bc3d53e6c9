"""The log of one attempt, wherever it is now: in the container, or sealed in a file."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ...runtime.clock import Clock
from ...runtime.driver import Driver
from ...runtime.model import Handle
from ..domain.workload import Attempt
from ..store.sealed_logs import SealedLogs
from ..store.store import Store

CHUNK_BYTES = 64 * 1024
PAUSE_S = 0.1
PATIENCE = 50  # pauses that an ended attempt's log may take to be sealed


@dataclass(frozen=True, slots=True)
class LogSources:
    store: Store
    driver: Driver
    clock: Clock
    sealed: SealedLogs
    instance: str
    closing: asyncio.Event


async def follow_log(sources: LogSources, attempt: Attempt) -> AsyncIterator[bytes]:
    """
    Every byte once, from the first; ends when the attempt has ended and all is told.

    A follower whose container is removed under it goes on in the sealed file at
    the byte it had reached, so the last lines are never cut.
    """
    name = attempt.container_name(sources.instance)
    path = sources.sealed.path(attempt.replica_id, attempt.number)
    sent = idle = 0
    while not sources.closing.is_set():
        current = sources.store.get_attempt(attempt.replica_id, attempt.number) or attempt
        if path.exists():
            with path.open("rb") as file:
                file.seek(sent)
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
            return
        skip = sent
        async for chunk in sources.driver.logs(Handle(name, name), follow=True):
            fresh, skip = chunk[skip:], max(0, skip - len(chunk))
            if fresh:
                sent += len(fresh)
                yield fresh
        idle = 0 if current.is_live else idle + 1
        if not current.is_live and (current.started_at_ms is None or idle > PATIENCE):
            return  # it never had a container, or somebody else removed it with its log
        await sources.clock.sleep(PAUSE_S)
