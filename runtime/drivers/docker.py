"""Containers through the Docker SDK. Blocking calls run in pools of their own."""

import asyncio
import contextlib
import logging
import math
import os
import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from docker.errors import APIError, NotFound

from ..clock import Clock
from ..container_options import ContainerOptions, Refusal
from ..driver import LoginSource, no_login
from ..errors import DriverError, ImagePullFailed, LaunchRefused, MountRejected, PortTaken, RuntimeUnavailable
from ..exec_session import ExecSession
from ..model import WAITS, ContainerSpec, Handle, LogEntry, Observed
from .docker_arguments import create_arguments
from .docker_engine import BROKEN, Engine, unavailable
from .docker_exec import open_exec
from .docker_gpus import gpu_refusal, gpu_requests, is_gpu_refusal, keeps_gpus, mps_mounts
from .docker_mounts import Mounts
from .docker_network import Networks
from .docker_observed import KILLED, Ends, is_ours, observed
from .docker_options import check_user
from .docker_pull import Pulls, pull_failed
from .docker_streams import EventStream, LogStream
from .streams import from_thread

log = logging.getLogger(__name__)
RECONNECT_S = 1.0
REPLAY_S = 10  # ends from before the first event stream, which the list may not know yet
# A host port that somebody else holds, as 20.10 words it for its own and for foreign holders.
PORT_TAKEN = re.compile(r"port is already allocated|address already in use")


class DockerDriver:
    """
    Args:
        stage: a private directory for mounts on their way into a container; without
            it, or without root, mounts are checked less strictly (docker_mounts).
        network_pool: where groups get their networks from, a /26 each.
        publish_host: the host's address on which ports are published.
        base_url: the engine; by default what DOCKER_HOST says, else this machine's.
    """

    def __init__(
        self,
        instance: str,
        clock: Clock,
        *,
        stage: Path | None = None,
        network_pool: str = "10.213.0.0/16",
        publish_host: str = "127.0.0.1",
        base_url: str | None = None,
    ) -> None:
        self._instance, self._clock, self._publish_host = instance, clock, publish_host
        self._cores = os.cpu_count() or 1
        self._engine = Engine(base_url, launches=self._cores)
        self._networks = Networks(self._engine, instance, network_pool)
        self._mounts = Mounts(self._engine, instance, stage)
        self._mounts.sweep()
        self._ends = Ends((clock.now_ms() - REPLAY_S * 1000) * 1_000_000)
        self._pulls = Pulls(self._engine)
        self._launches: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # By container id and state: an inspect of either never changes again.
        self._inspected: dict[tuple[str, str], Observed] = {}

    @property
    def kind(self) -> str:
        return "docker"

    def refusal(self, options: ContainerOptions) -> Refusal | None:
        return None

    async def ping(self) -> None:
        with _refusals("ping"):
            await self._engine.call("ping", lambda: self._engine.pinger.ping())

    async def prepare(self, spec: ContainerSpec, login: LoginSource = no_login) -> None:
        """An image that is present is not pulled, whatever its tag, unless it is asked for."""
        if spec.pull == "Always":
            return await self._pulls.pull(spec.image, login)
        try:
            await self._engine.call("call", lambda: self._engine.quick.inspect_image(spec.image))
        except NotFound as error:
            if spec.pull == "Never":
                why = "it is not on this host, and its pull policy is Never"
                raise ImagePullFailed(spec.image, why) from error
            await self._pulls.pull(spec.image, login)
        except APIError as error:
            raise pull_failed(spec.image, _text(error), None) from error

    async def start(self, spec: ContainerSpec) -> Handle:
        async with self._launches.setdefault(spec.name, asyncio.Lock()):
            try:
                return await self._start(spec)
            except APIError as error:
                text = _text(error)
                await self.remove(Handle(spec.name, spec.name))  # a refused start leaves it in `created`
                raise self._refusal(spec, text) from error

    async def _start(self, spec: ContainerSpec) -> Handle:
        try:
            network = await self._networks.id_of(spec.group)
            return await self._engine.call("launch", self._launch, spec, network)
        except APIError as error:
            if not _is_network_gone(_text(error)):
                raise
            self._networks.forget()  # removed by somebody since we looked
            network = await self._networks.id_of(spec.group)
            return await self._engine.call("launch", self._launch, spec, network)

    def _launch(self, spec: ContainerSpec, network: str) -> Handle:
        check_user(self._engine.quick, spec)
        ways = gpu_requests(self._engine.quick, spec.gpu_uuids)
        with self._mounts.given(spec) as given:
            mounts = [*given.mounts, *mps_mounts(spec)]
            for way in ways:
                arguments = create_arguments(
                    self._engine.slow, spec, network, mounts, way,
                    cores=self._cores, publish_host=self._publish_host,
                )  # fmt: skip
                try:
                    handle = self._create_and_start(spec, arguments, given.fill)
                except APIError as error:
                    if way is ways[-1] or not is_gpu_refusal(_text(error)):
                        raise
                    self._discard(spec.name)
                    continue
                try:
                    given.check()
                except MountRejected:
                    self._discard(handle.id)
                    raise
                return handle
        raise AssertionError("there is always one way at least")

    def _create_and_start(
        self, spec: ContainerSpec, arguments: Mapping[str, Any], fill: Callable[[Any, str], None]
    ) -> Handle:
        api = self._engine.slow
        try:
            container: str = self._create(spec, arguments)
        except APIError as error:
            if error.status_code != 409:
                raise
            adopted = self._adopt(spec)
            if adopted is not None:
                return adopted
            container = self._create(spec, arguments)
        try:
            fill(api, container)
        except MountRejected:
            self._discard(container)
            raise
        api.start(container)
        return Handle(container, spec.name)

    def _create(self, spec: ContainerSpec, arguments: Mapping[str, Any]) -> str:
        api = self._engine.slow
        try:
            return api.create_container(spec.image, **arguments)["Id"]
        except APIError as error:
            if not (spec.stays and "No command specified" in str(error.explanation)):
                raise
        waits = {"entrypoint": [WAITS[0]], "command": list(WAITS[1:])}
        return api.create_container(spec.image, **{**arguments, **waits})["Id"]

    def _adopt(self, spec: ContainerSpec) -> Handle | None:
        """
        The same attempt was created before. One that never started is made anew, since
        what it was to mount and its network may be gone; removed without force, so that
        it stays if it starts at this moment.
        """
        api = self._engine.slow
        try:
            seen = api.inspect_container(spec.name)
            if seen["Config"]["Labels"].get("homeport.instance") != self._instance:
                raise LaunchRefused(f"a container named {spec.name} exists and is not ours")
            if seen["State"]["Status"] == "removing":
                raise RuntimeUnavailable("Docker", f"{spec.name} is still being removed")
            if seen["State"]["Status"] == "created":
                try:
                    api.remove_container(seen["Id"], v=True)
                    return None
                except APIError as error:
                    if error.status_code != 409:
                        raise
            return Handle(seen["Id"], spec.name)
        except NotFound:
            return None

    def _discard(self, container: str) -> None:
        with contextlib.suppress(NotFound):
            self._engine.slow.remove_container(container, force=True, v=True)

    def _refusal(self, spec: ContainerSpec, text: str) -> DriverError:
        if is_gpu_refusal(text):
            return gpu_refusal(text)
        if PORT_TAKEN.search(text):
            asked = {p.host_port for p in spec.ports if p.host_port and re.search(rf":{p.host_port}\b", text)}
            return PortTaken(asked, self._publish_host, text)
        exports = [mount for mount in spec.mounts if mount.nfs]
        if exports and "failed to mount local volume" in text:
            return MountRejected(exports[0].target, f"{exports[0].nfs} cannot be mounted: {text}")
        return LaunchRefused(text)

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        def stop() -> None:  # the SDK waits for its answer that much longer
            with contextlib.suppress(NotFound):
                self._engine.slow.stop(handle.id, timeout=math.ceil(grace_s))

        with _refusals(f"stop {handle.name}"):
            await self._engine.call("stop", stop)

    async def pause(self, handle: Handle) -> None:
        with _refusals(f"pause {handle.name}"):
            await self._engine.call("call", self._turn, handle, "running", self._engine.slow.pause)

    async def resume(self, handle: Handle) -> None:
        with _refusals(f"resume {handle.name}"):
            await self._engine.call("call", self._turn, handle, "paused", self._engine.slow.unpause)

    def _turn(self, handle: Handle, state: str, act: Callable[[str], None]) -> None:
        """Acts on a container in that state, and leaves any other as it is."""
        with contextlib.suppress(NotFound):
            for is_last in (False, True):
                if self._engine.quick.inspect_container(handle.id)["State"]["Status"] != state:
                    return
                try:
                    return act(handle.id)
                except APIError:
                    if is_last:  # else it may have ended at this moment
                        raise

    async def remove(self, handle: Handle) -> None:
        def remove() -> None:
            try:
                self._discard(handle.id)
            except APIError as error:
                if error.status_code != 409:  # 409: a removal is under way already
                    raise

        with _refusals(f"remove {handle.name}"):
            await self._engine.call("call", remove)

    async def list_owned(self) -> Sequence[Observed]:
        with _refusals("list containers"):
            return await self._engine.call("list", self._list_owned)

    def _list_owned(self) -> list[Observed]:
        """One sparse list; an inspect only once per container and state."""
        told = self._ends.told()
        rows: list[dict[str, Any]] = self._engine.quick.containers(
            all=True, filters={"label": f"homeport.instance={self._instance}"}
        )
        found: list[Observed] = []
        kept: dict[tuple[str, str], Observed] = {}
        for row in filter(is_ours, rows):
            container, end = row["Id"], told.get(row["Id"])
            state = row["State"] if end is None else "exited"  # a row whose end was told of is behind
            seen = self._inspected.get((container, state))
            if seen is None and end is not None and end.exit_code != KILLED:
                # An inspect would wait until the engine has cleaned up; it would only tell more of an OOM.
                seen = self._inspected.get((container, "running"))
            if seen is None:
                try:
                    seen = observed(self._engine.quick.inspect_container(container))
                except NotFound:
                    continue
            if seen.state.value in (state, "running"):
                key = (container, seen.state.value)
                kept[key] = self._inspected[key] = seen
            found.append(self._ends.correct(seen, end))
        self._inspected = kept
        self._ends.settle(told, {row["Id"]: row["State"] for row in rows})
        return found

    async def list_groups(self) -> Sequence[str]:
        with _refusals("list networks"):
            return await self._networks.list_groups()

    async def remove_group(self, group: str) -> None:
        with _refusals(f"remove the network of {group!r}"):
            await self._networks.remove_group(group)

    async def logs(self, handle: Handle, *, follow: bool) -> AsyncGenerator[Sequence[LogEntry], None]:
        def open_log() -> LogStream:
            return LogStream(self._engine, handle.id, follow=follow)

        try:
            async with contextlib.aclosing(from_thread(open_log)) as batches:
                async for batch in batches:
                    yield batch
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:  # 409: it is being removed
                raise DriverError(f"cannot read the log of {handle.name}: {_text(error)}") from error
        except BROKEN as error:
            raise unavailable(error) from error

    async def exec(self, handle: Handle, command: tuple[str, ...], *, tty: bool) -> ExecSession:
        return await open_exec(self._engine, self._clock, handle, command, tty=tty)

    async def keeps_gpus(self, handle: Handle) -> bool | None:
        """Whether it may still use the GPUs that it was given; None where it cannot be told."""
        with _refusals(f"look into {handle.name}"):
            return await self._engine.call("call", keeps_gpus, self._engine, handle)

    async def changes(self) -> AsyncGenerator[None, None]:
        is_broken = False
        while True:
            try:
                async with contextlib.aclosing(from_thread(self._events)) as batches:
                    async for batch in batches:
                        is_broken = False
                        for event in batch:
                            self._ends.tell(event)
                        yield None
            except BROKEN as error:
                if not is_broken:
                    log.warning("the event stream broke, it is opened again: %s", error)
                is_broken = True
            await self._clock.sleep(RECONNECT_S)

    def _events(self) -> EventStream:
        return EventStream(self._engine, self._instance, self._ends.last_ns)

    async def purge(self) -> None:
        def owned() -> list[str]:
            rows = self._engine.quick.containers(
                all=True, filters={"label": f"homeport.instance={self._instance}"}
            )
            return [row["Id"] for row in rows]

        with _refusals("remove everything of this instance"):
            containers = await self._engine.call("list", owned)
            await asyncio.gather(*(self.remove(Handle(container, container)) for container in containers))
            await self._networks.purge()
            await self._mounts.purge()

    async def close(self) -> None:
        self._engine.close()


@contextlib.contextmanager
def _refusals(what: str) -> Generator[None]:
    """For calls where a refusal is nothing the caller could have asked better."""
    try:
        yield
    except APIError as error:
        raise DriverError(f"cannot {what}: {_text(error)}") from error


def _text(error: APIError) -> str:
    return str(error.explanation or error)


def _is_network_gone(text: str) -> bool:
    return "network" in text and "not found" in text
