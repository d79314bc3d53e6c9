"""A container, in the words of the SDK."""

from typing import Any

from docker.types import LogConfig

from ..model import ContainerSpec
from .docker_gpus import GpuRequest
from .docker_network import GROUP_LABEL
from .docker_options import security_arguments, tmpfs_of, user_of

PIDS_LIMIT = 4096


def create_arguments(
    api: Any,
    spec: ContainerSpec,
    network: str,
    mounts: list[Any],
    gpus: GpuRequest,
    *,
    cores: int,
    publish_host: str,
) -> dict[str, Any]:
    """
    For the SDK's create_container.

    Args:
        cores: of this host. publish_host: its address on which ports are published.
    """
    bindings: dict[str, list[tuple[str, int | None]]] = {}
    for port in spec.ports:
        if port.host_port is not None:
            bound = bindings.setdefault(f"{port.container_port}/{port.protocol}", [])
            bound.append((publish_host, port.host_port or None))
    host = api.create_host_config(
        init=True,
        nano_cpus=int(min(spec.cpu_cores, cores) * 1e9),
        mem_limit=spec.memory_mib * 2**20,
        memswap_limit=spec.memory_mib * 2**20,
        pids_limit=PIDS_LIMIT,
        shm_size=None if spec.shm_mib is None else spec.shm_mib * 2**20,
        network_mode=network,
        port_bindings=bindings,
        mounts=mounts,
        tmpfs=tmpfs_of(spec),
        device_requests=list(gpus.device_requests) or None,
        runtime=gpus.runtime,
        # The daemon and its clients meet in shared memory, too.
        ipc_mode="host" if spec.mps_pipes else None,
        log_config=LogConfig(type="json-file"),  # whatever the engine's default: not all can be read
        **security_arguments(spec.options.security),
    )
    aliases = api.create_endpoint_config(aliases=list(spec.aliases)) if spec.group else None
    return {
        "name": spec.name,
        "entrypoint": list(spec.command[:1]) or None,
        "command": [*spec.command[1:], *spec.args] or None,
        "working_dir": spec.working_dir or None,
        "user": user_of(spec.options.security),
        # A shell that is an image's own command reads from it for ever; else it would end at once.
        "stdin_open": spec.stays,
        "tty": spec.options.has_tty,
        "environment": [*(f"{name}={value}" for name, value in spec.env), *gpus.env],
        "ports": [(port.container_port, port.protocol) for port in spec.ports],
        "host_config": host,
        "networking_config": api.create_networking_config({network: aliases}) if aliases else None,
        "labels": {
            "homeport.instance": spec.instance,
            "homeport.workload": spec.workload_id,
            "homeport.replica": spec.replica_id,
            "homeport.attempt": str(spec.attempt),
            "homeport.generation": str(spec.generation),
            "homeport.gpus": ",".join(spec.gpu_uuids),
            **({GROUP_LABEL: spec.group} if spec.group else {}),
        },
    }
