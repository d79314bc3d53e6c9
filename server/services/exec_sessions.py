"""Commands that users run beside a workload's own: in which replica, and how many at once."""

import contextlib
import logging
from collections.abc import AsyncGenerator

from ...runtime.driver import Driver
from ...runtime.errors import DriverError, RuntimeUnavailable
from ...runtime.exec_session import ExecSession
from ...runtime.model import Handle
from ..domain.workload import Attempt, AttemptState
from ..errors import Conflict, Invalid, NotFound, RuntimeSilent, TooMany
from .access import Caller
from .context import Services
from .why import find_anywhere

log = logging.getLogger(__name__)
MAX_SESSIONS = 64


class ExecSessions:
    def __init__(self, services: Services, driver: Driver, instance: str, limit: int = MAX_SESSIONS) -> None:
        self._services, self._driver, self._instance, self._limit = services, driver, instance, limit
        self._open = 0

    @contextlib.asynccontextmanager
    async def open(
        self, who: Caller, name: str, replica: str | None, command: tuple[str, ...], *, tty: bool
    ) -> AsyncGenerator[ExecSession]:
        """
        The session is closed at the end, and its command with it.

        Args:
            name: of the workload, or its id.
            replica: may be None where only one runs.
        """
        attempt = find_running(self._services, who, name, replica)
        if self._open >= self._limit:
            raise TooMany(f"{self._open} commands are being run by exec-in, no more at once; end one first")
        self._open += 1
        try:
            container = attempt.container_name(self._instance)
            try:
                session = await self._driver.exec(Handle(container, container), command, tty=tty)
            except RuntimeUnavailable as error:
                raise RuntimeSilent(str(error)) from error
            except DriverError as error:
                raise Conflict(f"nothing can be run in {attempt.replica_id}: {error}") from error
            # Never the command: what a user types may be a secret.
            log.info("%s runs a command in %s", who.owner, attempt.replica_id)
            try:
                yield session
            finally:
                await session.close()
        finally:
            self._open -= 1


def find_running(services: Services, who: Caller, name: str, replica: str | None) -> Attempt:
    """The newest attempt of the replica that is meant."""
    found = find_anywhere(services, who, name)
    attempts = services.store.attempts_of(found.workload.id)
    running = {a.replica_id: a for a in attempts if a.state is AttemptState.RUNNING}
    ids = ", ".join(sorted(running))
    if not running:
        raise Conflict(f"no replica of {found.workload.id} runs; it is {found.phase.value}")
    if replica is None and len(running) > 1:
        raise Invalid("replica", f"{found.workload.id} has several; name one of {ids}")
    if replica is not None and replica not in running:
        raise NotFound("replica that runs", replica, among=ids)
    return running[replica] if replica is not None else next(iter(running.values()))
