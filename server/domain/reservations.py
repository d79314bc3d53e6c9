"""Nodes kept for those who name the reservation, for a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class ReservationPhase(Enum):
    WAITING = "waiting"
    RESERVED = "reserved"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Reservation:
    """
    In force from `starts_at_ms` until before `ends_at_ms`.

    Args:
        users: owners, and workspaces, who may name it; empty is everybody.
    """

    id: str
    node_group: str
    nodes: tuple[str, ...]
    starts_at_ms: int
    ends_at_ms: int
    created_by: str
    created_at_ms: int
    users: tuple[str, ...] = ()

    def is_for(self, owner: str, workspace: str) -> bool:
        return not self.users or owner in self.users or workspace in self.users

    def phase(self, now_ms: int) -> ReservationPhase:
        if now_ms < self.starts_at_ms:
            return ReservationPhase.WAITING
        return ReservationPhase.RESERVED if now_ms < self.ends_at_ms else ReservationPhase.EXPIRED

    def overlaps(self, starts_at_ms: int, ends_at_ms: int) -> bool:
        return self.starts_at_ms < ends_at_ms and starts_at_ms < self.ends_at_ms


def reserved_nodes(reservations: Iterable[Reservation], now_ms: int) -> dict[str, str]:
    """Node to the reservation in force on it; there is at most one."""
    in_force = [r for r in reservations if r.phase(now_ms) is ReservationPhase.RESERVED]
    return {node: r.id for r in in_force for node in r.nodes}
