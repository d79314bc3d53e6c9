"""What is seen of a container: an inspect, and the ends that the event stream told of first."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from ..model import ContainerState, Handle, Observed, Port

LABELS = ("homeport.workload", "homeport.replica", "homeport.attempt", "homeport.generation")
STATES = {
    "created": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.PAUSED,
    "restarting": ContainerState.RUNNING,
    "exited": ContainerState.EXITED,
    "dead": ContainerState.EXITED,
}
ALIVE = (ContainerState.RUNNING, ContainerState.PAUSED)
KILLED = 128 + 9


def is_ours(row: Mapping[str, Any]) -> bool:
    """Somebody may have given our instance's label to a container of theirs."""
    labels = row.get("Labels") or {}
    return row["State"] in STATES and all(label in labels for label in LABELS)  # else: being removed


def observed(inspected: Mapping[str, Any]) -> Observed:
    labels, state = inspected["Config"]["Labels"], inspected["State"]
    seen = STATES.get(state["Status"], ContainerState.RUNNING)
    exit_code = state["ExitCode"] if seen is ContainerState.EXITED else None
    started_ms, finished_ms = _ms(state["StartedAt"]), _ms(state["FinishedAt"])
    if finished_ms is not None:
        finished_ms = max(finished_ms, started_ms or 0)  # 20.10 notes a start a little late
    return Observed(
        handle=Handle(inspected["Id"], inspected["Name"].lstrip("/")),
        workload_id=labels["homeport.workload"],
        replica_id=labels["homeport.replica"],
        attempt=int(labels["homeport.attempt"]),
        generation=int(labels["homeport.generation"]),
        state=seen,
        exit_code=exit_code,
        oom_killed=bool(state.get("OOMKilled")) and exit_code == KILLED,  # else only a child was
        started_at_ms=started_ms,
        finished_at_ms=finished_ms if seen is ContainerState.EXITED else None,
        error=state.get("Error") or "",
        ports=_ports(inspected) if seen in ALIVE else (),
        address=_address(inspected) if seen in ALIVE else "",
    )


def _address(inspected: Mapping[str, Any]) -> str:
    networks: Mapping[str, Any] = inspected["NetworkSettings"].get("Networks") or {}
    return next((n["IPAddress"] for n in networks.values() if n.get("IPAddress")), "")


def _ports(inspected: Mapping[str, Any]) -> tuple[Port, ...]:
    published: Mapping[str, Any] = inspected["NetworkSettings"].get("Ports") or {}
    found: set[tuple[int, str, int]] = set()  # a port on every address is listed for IPv4 and IPv6
    for name, bindings in published.items():
        number, _, protocol = name.partition("/")
        found |= {(int(number), protocol, int(bound["HostPort"])) for bound in bindings or ()}
    return tuple(Port(number, protocol, host) for number, protocol, host in sorted(found))


@dataclass(frozen=True, slots=True)
class End:
    exit_code: int
    at_ns: int


class Ends:
    """
    Ends told by events. The engine's list lags them (measured on 20.10), so a row that
    still says running is corrected until the list agrees.
    """

    def __init__(self, since_ns: int) -> None:
        self.last_ns = since_ns  # up to here nothing was missed
        self._lock = threading.Lock()  # told by the loop, asked by the list's thread
        self._ends: dict[str, End] = {}
        self._ooms: set[str] = set()

    def tell(self, event: Mapping[str, Any]) -> None:
        """Events may come twice: a stream that is opened again starts where the last one ended."""
        if "Actor" not in event:
            return
        container = str(event["Actor"]["ID"])
        at_ns = int(event["timeNano"])
        with self._lock:
            self.last_ns = max(self.last_ns, at_ns)
            match event.get("Action"):
                case "die":
                    code = int(event["Actor"]["Attributes"].get("exitCode", -1))
                    self._ends[container] = End(code, at_ns)
                case "oom":
                    self._ooms.add(container)
                case "start":  # somebody started it once more, by hand
                    self._ends.pop(container, None)
                    self._ooms.discard(container)
                case "destroy":
                    self._ends.pop(container, None)
                    self._ooms.discard(container)
                case _:
                    pass

    def told(self) -> dict[str, End]:
        with self._lock:
            return dict(self._ends)

    def settle(self, told: Mapping[str, End], states: Mapping[str, str]) -> None:
        """
        Forget what the engine's own list says by now.

        Args:
            told: what was known before the list was asked; later ends are kept.
            states: container id -> state, from that list.
        """
        with self._lock:
            for container, end in told.items():
                is_running = STATES.get(states.get(container, "")) in ALIVE
                if not is_running and self._ends.get(container) == end:
                    del self._ends[container]
            self._ooms = {c for c in self._ooms if c in states or c in self._ends}

    def correct(self, seen: Observed, end: End | None) -> Observed:
        if end is not None and seen.state in ALIVE:
            seen = replace(
                seen,
                state=ContainerState.EXITED,
                exit_code=end.exit_code,
                finished_at_ms=end.at_ns // 1_000_000,
                ports=(),
                address="",
            )
        with self._lock:
            was_oom = seen.handle.id in self._ooms
        return replace(seen, oom_killed=True) if was_oom and seen.exit_code == KILLED else seen


def unix_ns(text: str) -> int:
    """RFC 3339 with up to nine digits after the point -> Unix nanoseconds, exactly."""
    zone = 1 if text.endswith("Z") else 6
    fraction = text[20:-zone]
    whole = _seconds(text[:19], "+00:00" if zone == 1 else text[-6:])
    return whole * 10**9 + int((fraction + "000000000")[:9])


@lru_cache(maxsize=256)  # the lines of one second share it
def _seconds(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text + zone).timestamp())


def _ms(text: str) -> int | None:
    """Docker writes year 1 for "never"."""
    return None if text.startswith("0001") else unix_ns(text) // 1_000_000
