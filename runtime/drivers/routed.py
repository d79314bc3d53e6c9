"""Simulated nodes beside this machine's own: each container goes to the driver of its node."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from ..container_options import ContainerOptions, Refusal
from ..driver import Driver, LoginSource, no_login
from ..exec_session import ExecSession
from ..metrics import Asked, Key, ReplicaUsage, UsageReader
from ..model import ContainerSpec, Handle, LogEntry, Observed
from .simulated import SimulatedDriver


class RoutedDriver:
    """
    Args:
        real: this machine's own driver, whose kind it has.
        nodes: the names of the simulated ones.
    """

    def __init__(self, real: Driver, simulated: SimulatedDriver, nodes: Collection[str]) -> None:
        self.real, self.simulated, self._nodes = real, simulated, frozenset(nodes)

    @property
    def kind(self) -> str:
        return self.real.kind

    def refusal(self, options: ContainerOptions) -> Refusal | None:
        """Where it will run is not known yet, so it is what no real node can give."""
        return self.real.refusal(options)

    def _for(self, spec: ContainerSpec) -> Driver:
        return self.simulated if spec.node in self._nodes else self.real

    def _of(self, handle: Handle) -> Driver:
        return self.simulated if self.simulated.owns(handle) else self.real

    async def ping(self) -> None:
        await self.real.ping()

    async def prepare(self, spec: ContainerSpec, login: LoginSource = no_login) -> None:
        await self._for(spec).prepare(spec, login)

    async def start(self, spec: ContainerSpec) -> Handle:
        return await self._for(spec).start(spec)

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        await self._of(handle).stop(handle, grace_s=grace_s)

    async def pause(self, handle: Handle) -> None:
        await self._of(handle).pause(handle)

    async def resume(self, handle: Handle) -> None:
        await self._of(handle).resume(handle)

    async def remove(self, handle: Handle) -> None:
        await self._of(handle).remove(handle)

    async def list_owned(self) -> Sequence[Observed]:
        return [*await self.real.list_owned(), *await self.simulated.list_owned()]

    async def list_groups(self) -> Sequence[str]:
        groups = (*await self.real.list_groups(), *await self.simulated.list_groups())
        return list(dict.fromkeys(groups))

    async def remove_group(self, group: str) -> None:
        """A workload may have members on both sides."""
        await self.real.remove_group(group)
        await self.simulated.remove_group(group)

    def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[Sequence[LogEntry]]:
        return self._of(handle).logs(handle, follow=follow)

    async def exec(self, handle: Handle, command: tuple[str, ...], *, tty: bool) -> ExecSession:
        return await self._of(handle).exec(handle, command, tty=tty)

    async def changes(self) -> AsyncIterator[None]:
        news = asyncio.Event()

        async def listen(driver: Driver) -> None:
            async for _ in driver.changes():
                news.set()

        listeners = [asyncio.ensure_future(listen(driver)) for driver in (self.real, self.simulated)]
        try:
            while True:
                await news.wait()
                news.clear()
                yield None
        finally:
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)

    async def purge(self) -> None:
        await self.simulated.purge()
        await self.real.purge()

    async def close(self) -> None:
        await self.simulated.close()
        await self.real.close()


class RoutedUsage:
    """What simulated containers use is scripted, what others use is measured."""

    def __init__(self, real: UsageReader, scripted: UsageReader, simulated: SimulatedDriver) -> None:
        self._real, self._scripted, self._simulated = real, scripted, simulated

    @property
    def is_blind(self) -> bool:
        return self._real.is_blind and self._scripted.is_blind

    async def read(self, asked: Sequence[Asked]) -> Mapping[Key, ReplicaUsage]:
        mine = [a for a in asked if a.handle is not None and self._simulated.owns(a.handle)]
        keys = {a.key for a in mine}
        rest = [a for a in asked if a.key not in keys]
        return {**await self._real.read(rest), **await self._scripted.read(mine)}

    def close(self) -> None:
        self._real.close()
        self._scripted.close()
