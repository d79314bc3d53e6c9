"""Containers through the Docker SDK. Blocking calls run in pools of their own."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest
from docker.utils import parse_repository_tag
from requests.exceptions import RequestException

from ..clock import Clock
from ..errors import DeviceGone, DriverError, ImagePullFailed, LaunchRefused, RuntimeUnavailable
from ..model import ContainerSpec, ContainerState, Handle, Observed
from .streams import from_thread

log = logging.getLogger(__name__)
T = TypeVar("T")
CALL_S, PING_S = 60, 3
PIDS_LIMIT = 4096
RECONNECT_S = 1.0
# What engines say when they cannot give a GPU; measured on 20.10 and 26.1.
NO_GPU_TEXTS = (
    "could not select device driver",
    "unresolvable CDI devices",
    "unknown or invalid runtime name",
    "Unknown runtime specified",
)
STATES = {
    "created": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "restarting": ContainerState.RUNNING,
    "exited": ContainerState.EXITED,
    "dead": ContainerState.EXITED,
}


class DockerDriver:
    def __init__(self, instance: str, clock: Clock, base_url: str | None = None) -> None:
        self._instance, self._clock = instance, clock
        url = base_url or os.environ.get("DOCKER_HOST")
        self._client = docker.APIClient(base_url=url, version="1.41", timeout=CALL_S)
        self._pinger = docker.APIClient(base_url=url, version="1.41", timeout=PING_S)
        cores = os.cpu_count() or 1
        self._pools = {
            "launch": ThreadPoolExecutor(cores, "docker-launch"),
            "call": ThreadPoolExecutor(4, "docker-call"),
            "pull": ThreadPoolExecutor(4, "docker-pull"),
            "ping": ThreadPoolExecutor(1, "docker-ping"),
        }
        self._cores = cores
        self._network_lock = asyncio.Lock()
        self._network_id: str | None = None
        self._inspected: dict[
            tuple[str, str], Observed
        ] = {}  # by container id and state: neither changes back

    @property
    def kind(self) -> str:
        return "docker"

    async def ping(self) -> None:
        await self._call("ping", self._pinger.ping)

    async def prepare(self, spec: ContainerSpec) -> None:
        """An image that is present is never pulled, whatever its tag."""
        try:
            await self._call("call", self._client.inspect_image, spec.image)
        except NotFound:
            await self._pull(spec.image)

    async def _pull(self, image: str) -> None:
        def pull() -> None:
            name, tag = parse_repository_tag(image)
            for line in self._client.pull(name, tag=tag or "latest", stream=True, decode=True):
                if "error" in line:  # a refusal comes inside the stream, with status 200
                    raise ImagePullFailed(image, str(line["error"]))

        try:
            await self._call("pull", pull)
        except (ImageNotFound, NotFound) as error:
            raise ImagePullFailed(image, "not in the registry") from error
        except APIError as error:
            raise ImagePullFailed(image, error.explanation or str(error)) from error

    async def start(self, spec: ContainerSpec) -> Handle:
        network = await self._network()
        try:
            return await self._call("launch", self._start, spec, network)
        except APIError as error:
            text = error.explanation or str(error)
            await self.remove(Handle(spec.name, spec.name))  # a refused start leaves it in `created`
            if any(known in text for known in NO_GPU_TEXTS):
                raise DeviceGone(
                    "this Docker engine cannot give GPUs to containers: install nvidia-container-toolkit, "
                    f"run `nvidia-ctk cdi generate` and restart dockerd ({text})"
                ) from error
            raise LaunchRefused(text) from error

    def _start(self, spec: ContainerSpec, network: str) -> Handle:
        try:
            container: str = self._create(spec, network)
        except APIError as error:
            if error.status_code != 409:
                raise
            seen = self._client.inspect_container(spec.name)  # the same attempt was created before: adopt it
            if seen["Config"]["Labels"].get("homeport.instance") != self._instance:
                raise LaunchRefused(f"a container named {spec.name} exists and is not ours") from error
            container = seen["Id"]
            if seen["State"]["Status"] != "created":
                return Handle(container, spec.name)
        self._client.start(container)
        return Handle(container, spec.name)

    def _create(self, spec: ContainerSpec, network: str) -> str:
        host = self._client.create_host_config(
            init=True,
            nano_cpus=int(min(spec.cpu_cores, self._cores) * 1e9),
            mem_limit=spec.memory_mib * 2**20,
            memswap_limit=spec.memory_mib * 2**20,
            pids_limit=PIDS_LIMIT,
            security_opt=["no-new-privileges"],
            shm_size=None if spec.shm_mib is None else spec.shm_mib * 2**20,
            network_mode=network,
            device_requests=self._device_requests(spec.gpu_uuids),
        )
        made = self._client.create_container(
            spec.image,
            name=spec.name,
            entrypoint=list(spec.command[:1]) or None,
            command=list(spec.command[1:]) or None,
            environment=[f"{name}={value}" for name, value in spec.env],
            host_config=host,
            labels={
                "homeport.instance": spec.instance,
                "homeport.workload": spec.workload_id,
                "homeport.replica": spec.replica_id,
                "homeport.attempt": str(spec.attempt),
                "homeport.generation": str(spec.generation),
                "homeport.gpus": ",".join(spec.gpu_uuids),
            },
        )
        return made["Id"]

    def _device_requests(self, uuids: Sequence[str]) -> list[DeviceRequest] | None:
        if not uuids:
            return None
        components = self._client.version().get("Components") or [{}]
        if components[0].get("Name") == "Podman Engine":
            raise DeviceGone("Podman ignores GPU requests silently, so none is made: use Docker for GPU work")
        if self._client.info().get("CDISpecDirs"):
            return [DeviceRequest(driver="cdi", device_ids=[f"nvidia.com/gpu={u}" for u in uuids])]
        return [DeviceRequest(device_ids=list(uuids), capabilities=[["gpu"]])]

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        def stop() -> None:
            self._client.stop(handle.id, timeout=int(grace_s))

        with contextlib.suppress(NotFound):
            await self._call("call", stop)

    async def remove(self, handle: Handle) -> None:
        def remove() -> None:
            self._client.remove_container(handle.id, force=True, v=True)

        try:
            await self._call("call", remove)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:  # 409: a removal is under way already
                raise DriverError(f"cannot remove {handle.name}: {error.explanation}") from error

    async def list_owned(self) -> Sequence[Observed]:
        return await self._call("call", self._list_owned)

    def _list_owned(self) -> list[Observed]:
        """One sparse list; an inspect only once per container and state."""
        rows: list[dict[str, Any]] = self._client.containers(
            all=True, filters={"label": f"homeport.instance={self._instance}"}
        )
        found: list[Observed] = []
        fresh: dict[tuple[str, str], Observed] = {}
        for row in rows:
            key = (row["Id"], row["State"])
            if row["State"] not in STATES:
                continue  # being removed
            seen = self._inspected.get(key)
            if seen is None:
                try:
                    seen = _observed(self._client.inspect_container(row["Id"]))
                except NotFound:
                    continue
            if seen.state is not ContainerState.CREATED:
                fresh[(row["Id"], row["State"])] = seen
            found.append(seen)
        self._inspected = fresh
        return found

    async def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[bytes]:
        def open_stream() -> Any:
            return self._client.logs(handle.id, stream=True, follow=follow, stdout=True, stderr=True)

        with contextlib.suppress(NotFound):
            async for chunk in from_thread(open_stream, lambda stream: stream.close()):
                yield chunk

    async def changes(self) -> AsyncIterator[None]:
        filters = {
            "label": f"homeport.instance={self._instance}",
            "event": ["start", "die", "oom", "destroy"],
        }
        while True:
            yield None  # what happened while nobody listened is found by the next list
            try:
                async for _ in from_thread(lambda: self._events(filters), lambda stream: stream.close()):
                    yield None
            except (DockerException, RequestException) as error:
                log.warning("the event stream broke, it is opened again: %s", error)
            await self._clock.sleep(RECONNECT_S)

    def _events(self, filters: dict[str, Any]) -> Any:
        return self._client.events(filters=filters)

    async def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        self._pinger.close()

    async def _network(self) -> str:
        """One bridge for the instance, without traffic between its containers."""
        async with self._network_lock:
            if self._network_id is None:
                self._network_id = await self._call("call", self._find_or_make_network)
            return self._network_id

    def _find_or_make_network(self) -> str:
        name = f"homeport-{self._instance}"
        for network in self._client.networks(names=[name]):  # two networks may bear one name
            if network["Name"] == name:
                return network["Id"]
        made = self._client.create_network(
            name,
            driver="bridge",
            options={"com.docker.network.bridge.enable_icc": "false"},
            labels={"homeport.instance": self._instance},
        )
        return made["Id"]

    async def _call(self, pool: str, work: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pools[pool], work, *args)
        except APIError:
            raise
        except (DockerException, RequestException) as error:
            raise RuntimeUnavailable("Docker", str(error)) from error


def _observed(inspected: dict[str, Any]) -> Observed:
    labels, state = inspected["Config"]["Labels"], inspected["State"]
    seen = STATES.get(state["Status"], ContainerState.RUNNING)
    return Observed(
        handle=Handle(inspected["Id"], inspected["Name"].lstrip("/")),
        workload_id=labels["homeport.workload"],
        replica_id=labels["homeport.replica"],
        attempt=int(labels["homeport.attempt"]),
        generation=int(labels["homeport.generation"]),
        state=seen,
        exit_code=state["ExitCode"] if seen is ContainerState.EXITED else None,
        oom_killed=bool(state.get("OOMKilled")),
        started_at_ms=_ms(state["StartedAt"]),
        finished_at_ms=_ms(state["FinishedAt"]) if seen is ContainerState.EXITED else None,
        error=state.get("Error") or "",
    )


def _ms(text: str) -> int | None:
    """RFC 3339 with nanoseconds -> Unix milliseconds; Docker writes year 1 for "never"."""
    if text.startswith("0001"):
        return None
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return int(seconds) * 1000 + int((fraction + "000")[:3])
