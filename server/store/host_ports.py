"""Ports of the host that belong to workloads: pieces of a read or a write."""

from collections.abc import Sequence

from sqlmodel import Session, col, delete, select

from .tables import HostPortRow

PortKey = tuple[int, str]  # container port and protocol


def host_ports_of(session: Session, workload_ids: Sequence[str]) -> dict[str, dict[PortKey, int]]:
    """Host port by container port and protocol, by workload; empty where it has none."""
    found: dict[str, dict[PortKey, int]] = {workload_id: {} for workload_id in workload_ids}
    query = select(HostPortRow).where(col(HostPortRow.workload_id).in_(workload_ids))
    for row in session.exec(query):
        found[row.workload_id][row.container_port, row.protocol] = row.host_port
    return found


def owner_of(session: Session, host_port: int, protocol: str) -> str | None:
    row = session.get(HostPortRow, (host_port, protocol))
    return None if row is None else row.workload_id


def lease(session: Session, workload_id: str, port: PortKey, host_port: int) -> None:
    """In place of the one it has."""
    release(session, workload_id, port)
    container_port, protocol = port
    session.add(
        HostPortRow(
            host_port=host_port, protocol=protocol, workload_id=workload_id, container_port=container_port
        )
    )
    session.flush()


def release(session: Session, workload_id: str, port: PortKey | None = None) -> None:
    """One port, or all that the workload has."""
    query = delete(HostPortRow).where(col(HostPortRow.workload_id) == workload_id)
    if port is not None:
        query = query.where(col(HostPortRow.container_port) == port[0], col(HostPortRow.protocol) == port[1])
    session.exec(query)
