"""A driver with faults in front of it: an engine that hangs, images that cannot be had."""

from collections.abc import AsyncIterator, Sequence

from ..clock import Clock
from ..container_options import ContainerOptions, Refusal
from ..driver import Driver, LoginSource, no_login
from ..errors import ImagePullFailed, RuntimeUnavailable
from ..exec_session import ExecSession
from ..faults import FaultKind, Faults
from ..model import ContainerSpec, Handle, LogEntry, Observed

PATIENCE_S = 5.0  # as long as `Driver.ping` may take


class FaultyDriver:
    """
    Args:
        inner: what answers while no fault is in force.
    """

    def __init__(self, inner: Driver, faults: Faults, clock: Clock) -> None:
        self.inner, self._faults, self._clock = inner, faults, clock

    @property
    def kind(self) -> str:
        return self.inner.kind

    def refusal(self, options: ContainerOptions) -> Refusal | None:
        return self.inner.refusal(options)

    async def _reach(self) -> None:
        """Raises RuntimeUnavailable, when the engine hangs after as long as one waits for an answer."""
        fault = self._faults.engine
        if fault is not None and fault.kind is FaultKind.ENGINE_HANG:
            await self._clock.sleep(PATIENCE_S)
            fault = self._faults.engine
        if fault is not None:
            hangs = fault.kind is FaultKind.ENGINE_HANG
            detail = fault.message or (
                f"no answer within {PATIENCE_S:g} s" if hangs else "connection refused"
            )
            raise RuntimeUnavailable(f"the {self.kind} runtime", detail)

    async def ping(self) -> None:
        await self._reach()
        await self.inner.ping()

    async def prepare(self, spec: ContainerSpec, login: LoginSource = no_login) -> None:
        await self._reach()
        if why := self._faults.pull_refusal(spec.image):
            used = await login()
            raise ImagePullFailed(spec.image, why, logins=tuple(one.name for one in used))
        await self.inner.prepare(spec, login)

    async def start(self, spec: ContainerSpec) -> Handle:
        await self._reach()
        return await self.inner.start(spec)

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        await self._reach()
        await self.inner.stop(handle, grace_s=grace_s)

    async def pause(self, handle: Handle) -> None:
        await self._reach()
        await self.inner.pause(handle)

    async def resume(self, handle: Handle) -> None:
        await self._reach()
        await self.inner.resume(handle)

    async def remove(self, handle: Handle) -> None:
        await self._reach()
        await self.inner.remove(handle)

    async def list_owned(self) -> Sequence[Observed]:
        await self._reach()
        return await self.inner.list_owned()

    async def list_groups(self) -> Sequence[str]:
        await self._reach()
        return await self.inner.list_groups()

    async def remove_group(self, group: str) -> None:
        await self._reach()
        await self.inner.remove_group(group)

    def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[Sequence[LogEntry]]:
        return self.inner.logs(handle, follow=follow)

    async def exec(self, handle: Handle, command: tuple[str, ...], *, tty: bool) -> ExecSession:
        await self._reach()
        return await self.inner.exec(handle, command, tty=tty)

    def changes(self) -> AsyncIterator[None]:
        return self.inner.changes()

    async def purge(self) -> None:
        await self.inner.purge()

    async def close(self) -> None:
        await self.inner.close()
