"""The seam to what runs containers. One contract suite (tests/contract) holds every driver to it."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from .model import ContainerSpec, Handle, Observed


class Driver(Protocol):
    """Runs containers. Every method is idempotent, so a step may be repeated."""

    @property
    def kind(self) -> str:
        """`docker` or `process`."""
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
        """Every container of this instance, also after a restart of ours."""
        ...

    def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[bytes]:
        """stdout and stderr as written, from the first byte; `follow` ends after the container does."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """A hint each time a container of ours starts or ends; never the truth itself, and never ends."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections; containers run on."""
        ...
