"""The seam to what runs containers. One contract suite (tests/contract) holds every driver to it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from .container_options import ContainerOptions, Refusal
from .exec_session import ExecSession
from .model import ContainerSpec, Handle, LogEntry, Observed, RegistryLogin

# Asked at the moment of the pull and only then, so that they are the logins of now; each is tried in
# turn until the registry gives the image. None of them: it is pulled without.
LoginSource = Callable[[], Awaitable[Sequence[RegistryLogin]]]


async def no_login() -> Sequence[RegistryLogin]:
    return ()


class Driver(Protocol):
    """Runs containers. Every method is idempotent, so a step may be repeated."""

    @property
    def kind(self) -> str:
        """`docker`, `process` or `simulated`."""
        ...

    def refusal(self, options: ContainerOptions) -> Refusal | None:
        """The first thing that this runtime can give no container; `start` raises LaunchRefused for it."""
        ...

    async def ping(self) -> None:
        """Raises RuntimeUnavailable within 5 s when the engine does not answer."""
        ...

    async def prepare(self, spec: ContainerSpec, login: LoginSource = no_login) -> None:
        """Make the image present; `start` is then quick. Raises ImagePullFailed."""
        ...

    async def start(self, spec: ContainerSpec) -> Handle:
        """Create and start; a container of that name that is there already is adopted, never doubled."""
        ...

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s`. Gone already, or paused, is fine."""
        ...

    async def pause(self, handle: Handle) -> None:
        """Its processes stand still, with memory, GPUs and ports. What does not run is left as it is."""
        ...

    async def resume(self, handle: Handle) -> None:
        """It goes on where it was paused. What is not paused is left as it is."""
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

    async def exec(self, handle: Handle, command: tuple[str, ...], *, tty: bool) -> ExecSession:
        """
        Runs one more command where the container's own runs, with its environment and
        directory. It ends with the container. Raises ExecRefused.
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
