"""What is seen of an attempt: its spec, what its supervisor wrote, and whether that still lives."""

from typing import Any

from ...model import ContainerState, Handle, Observed, Port
from .supervisor.state import State

ALIVE = (ContainerState.RUNNING, ContainerState.PAUSED)


def observed(
    name: str, spec: dict[str, Any], state: State, *, is_supervised: bool, is_paused: bool
) -> Observed:
    """
    Args:
        name: of the attempt's folder.
        state: asked for after `is_supervised`: an end is written before the lock is let go.
    """
    if "exit_code" in state:
        seen = ContainerState.EXITED
    elif not is_supervised:
        seen = ContainerState.CREATED
    else:
        seen = ContainerState.PAUSED if is_paused else ContainerState.RUNNING
    ports = (Port(**port) for port in spec["ports"])
    return Observed(
        handle=Handle(name, name),
        workload_id=spec["workload_id"],
        replica_id=spec["replica_id"],
        attempt=spec["attempt"],
        generation=spec["generation"],
        state=seen,
        exit_code=state.get("exit_code"),
        started_at_ms=state.get("started_at_ms"),
        finished_at_ms=state.get("finished_at_ms"),
        error=state.get("error", ""),
        address="127.0.0.1" if seen in ALIVE else "",
        # The command listens on the host itself, so no other number can lead to it.
        ports=tuple(
            Port(p.container_port, p.protocol, p.container_port) for p in ports if p.host_port is not None
        ),
    )
