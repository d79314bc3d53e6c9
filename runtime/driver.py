"""The seam to what runs containers. One contract suite (tests/contract) holds every driver to it."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from .model import ContainerSpec, Handle, LogEntry, Observed


class Driver(Protocol):
    """Runs containers. Every method is idempotent, so a step may be repeated."""

    @property
    def kind(self) -> str:
        """`docker`, `process` or `simulated`."""
        ...

    async def ping(self) -> None:
        """Raises RuntimeUnavailable within 5 s when the engine does not answer."""
        ...

    async def prepare(self, spec: ContainerSpec) -> None:
        """Make the image present; `start` is then quick. Raises ImagePullFailed."""
        ...

    async def start(self, spec: ContainerSpec) -> Handle:
        """Create and start; a container of that name that is there already is adopted, never doubled."""
        ...

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s`. A container already gone is fine."""
        ...

    async def remove(self, handle: Handle) -> None:
        """Kill if need be, and forget, its log too. A container already gone is fine."""
        ...

    async def list_owned(self) -> Sequence[Observed]:
        """
        Every container of this instance, also after a restart of ours. An end that
        `changes` has told of is in it, even where the engine's own list lags.
        """
        ...

    async def list_groups(self) -> Sequence[str]:
        """Groups whose network exists."""
        ...

    async def remove_group(self, group: str) -> None:
        """Its network, once its containers are gone. Gone already is fine."""
        ...

    def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[Sequence[LogEntry]]:
        """
        stdout and stderr from the first entry, in batches; the same entries each time.
        `follow` ends after the container does. Unknown containers have none.
        """
        ...

    def changes(self) -> AsyncIterator[None]:
        """A hint each time a container of ours starts or ends; never the truth itself, and never ends."""
        ...

    async def purge(self) -> None:
        """Remove everything of this instance from the machine: containers, networks, folders."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections; containers run on."""
        ...
