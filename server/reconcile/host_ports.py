"""
Ports of the host for dev pods, and for what else keeps them: leased for as long as it is there,
stopped or not, so that what its user has written down stays true.
"""

import contextlib
import random
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlmodel import Session

from ...runtime.model import Port
from ..domain.workload import Attempt, Workload, WorkloadSpec
from ..store import host_ports as leases
from ..store.host_ports import PortKey
from ..store.store import Store
from ..store.writes import add_event

# Within what `lep pod create --help` (0.47.1) names, and above the ports that Linux gives to
# connections by itself: one of those would be taken now and then by somebody on the way out.
CHOICE = range(61_000, 65_536)
MOST_TRIES = 5


def wanted_ports(workload: Workload) -> dict[PortKey, int]:
    """The host port that its user named, 0 for any, by container port and protocol."""
    if not _keeps(workload.spec):
        return {}
    return {(port, protocol): host or 0 for port, protocol, host in workload.spec.ports if host is not None}


def _keeps(spec: WorkloadSpec) -> bool:
    return spec.keeps_host_ports if spec.serving is None else spec.serving.is_kept_alive


def ports_of(workload: Workload, attempt: Attempt, leased: Mapping[PortKey, int]) -> tuple[Port, ...]:
    """
    As its container is to have them. What leads to a workload leads to its first replica.

    Args:
        leased: ports of the host, by container port and protocol.
    """
    spec = workload.spec
    is_first = attempt.index == 0 or not spec.keeps_host_ports
    found = [
        Port(p, protocol, leased.get((p, protocol), host) if is_first else None)
        for p, protocol, host in spec.ports
    ]
    named = {p.container_port for p in found}
    return (*found, *(Port(p) for p in dict.fromkeys(e.port for e in spec.exposures) if p not in named))


def may_move(workload: Workload, failures: int) -> bool:
    """Whether another port may be tried after so many that were taken."""
    return failures < MOST_TRIES and 0 in wanted_ports(workload).values()


def choices(workload_id: str, port: PortKey) -> Iterator[int]:
    """Every port there is to choose from, from a place that differs by workload."""
    first = random.Random(f"{workload_id}/{port[0]}/{port[1]}").randrange(len(CHOICE))
    return (CHOICE[(first + i) % len(CHOICE)] for i in range(len(CHOICE)))


def is_bindable(host: str, port: int, protocol: str) -> bool:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, kind) as probe:
        probe.bind((host, port))
        return True
    return False


@dataclass(frozen=True, slots=True)
class HostPorts:
    """
    Args:
        host: the address on which ports are published.
        is_mapped: False where a workload's ports are the host's own: no other number can lead to them.
    """

    store: Store
    host: str
    is_mapped: bool
    is_free: Callable[[str, int, str], bool] = is_bindable

    async def lease(
        self, workload: Workload, now_ms: int, *, taken: Collection[int] = ()
    ) -> Mapping[PortKey, int]:
        """
        What the workload asks for and lacks is chosen, what it asks for no more is given back.

        Args:
            taken: host ports that somebody else turned out to have; others take their place.
        """
        if workload.spec.serving is None and not workload.spec.keeps_host_ports:
            return {}  # most jobs have none, and thousands are launched
        wanted = wanted_ports(workload)
        if not self.is_mapped:
            wanted = dict.fromkeys(wanted, 0)
        have = self.store.read(lambda s: leases.host_ports_of(s, [workload.id]))[workload.id]
        if have.keys() == wanted.keys() and not set(have.values()) & set(taken) and not _moved(wanted, have):
            return have
        return await self.store.write(lambda s: self._settle(s, workload.id, wanted, taken, now_ms))

    def _settle(
        self,
        session: Session,
        workload_id: str,
        wanted: Mapping[PortKey, int],
        taken: Collection[int],
        now_ms: int,
    ) -> Mapping[PortKey, int]:
        have = leases.host_ports_of(session, [workload_id])[workload_id]
        for port in have.keys() - wanted.keys():
            leases.release(session, workload_id, port)
        settled: dict[PortKey, int] = {}
        for port, fixed in wanted.items():
            old = have.get(port)
            if old is not None and old not in taken and fixed in (0, old):
                settled[port] = old
                continue
            new = fixed or self._choose(session, workload_id, port, taken)
            owner = leases.owner_of(session, new, port[1]) if new else workload_id
            if not new or owner not in (None, workload_id):
                why = f"host port {new} belongs to another pod" if new else "no host port is free"
                add_event(session, workload_id, now_ms, "HostPortTaken", why, type_="Warning")
                leases.release(session, workload_id, port)
                continue
            leases.lease(session, workload_id, port, new)
            settled[port] = new
            if old is not None:
                message = f"port {port[0]} is reached as {new} of the host from now on: {old} was taken"
                add_event(session, workload_id, now_ms, "HostPortChanged", message, type_="Warning")
        return settled

    def _choose(self, session: Session, workload_id: str, port: PortKey, taken: Collection[int]) -> int:
        if not self.is_mapped:
            return port[0]
        for candidate in choices(workload_id, port):
            if candidate in taken or leases.owner_of(session, candidate, port[1]) is not None:
                continue
            if self.is_free(self.host, candidate, port[1]):
                return candidate
        return 0


def _moved(wanted: Mapping[PortKey, int], have: Mapping[PortKey, int]) -> bool:
    """Its user names another port than it has."""
    return any(fixed and have[port] != fixed for port, fixed in wanted.items())
