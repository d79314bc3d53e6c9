"""Reservations of nodes."""

from typing import Any

from ....domain.reservations import Reservation, ReservationPhase

# Spelling as in leptonai 0.47.1, api.v2.types.node_reservation.
PHASES = {
    ReservationPhase.WAITING: "WaitingEffective",
    ReservationPhase.RESERVED: "Reserved",
    ReservationPhase.EXPIRED: "Expired",
}


def reservation_to_wire(reservation: Reservation, now_ms: int) -> dict[str, Any]:
    """Times of the rule are in seconds, those of the metadata in milliseconds."""
    count = len(reservation.nodes)
    phase = reservation.phase(now_ms)
    is_held = phase is ReservationPhase.RESERVED
    return {
        "metadata": {
            "id": reservation.id, "name": reservation.id, "created_at": reservation.created_at_ms,
            "owner": reservation.created_by,
        },
        "spec": {
            "display_name": reservation.id,
            "users": list(reservation.users),
            "desired_nodes": count,
            "approved_nodes": count,
            "created_by": reservation.created_by,
            "time_rule": {
                "start_timestamp": reservation.starts_at_ms // 1000,
                "end_timestamp": reservation.ends_at_ms // 1000,
            },
        },
        "status": {
            "phase": PHASES[phase],
            "reserved_count": count if is_held else 0,
            "reserved_nodes": list(reservation.nodes) if is_held else [],
        },
    }  # fmt: skip
