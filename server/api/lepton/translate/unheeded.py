"""What of a request has no effect: told as events of the workload, not refused."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .. import wire

IGNORED = "FieldIgnored"  # the reason of the events


def unheeded(spec: wire.Wire) -> list[tuple[str, str]]:
    """
    Reason and message for each field of a spec of any kind that is kept and has no effect.

    The flag is `privileged` up to leptonai 0.26.4, and in `user_security_context` from 0.27.3 on.
    """
    asked = spec.model_dump(exclude_unset=True, by_alias=True)
    context: object = asked.get("user_security_context")
    asks = {
        "spec.privileged": asked.get("privileged"),
        "spec.user_security_context.privileged": (
            cast(Mapping[str, Any], context).get("privileged") if isinstance(context, Mapping) else None
        ),
    }
    return [
        (IGNORED, f"{field} has no effect: no container is privileged here")
        for field, value in asks.items()
        if value is True
    ]


def unheeded_ports(ports: Sequence[wire.ContainerPort]) -> list[tuple[str, str]]:
    """The same for the ports of a job, which no URL leads to."""
    return [
        (
            IGNORED,
            f"spec.container.ports[{i}].expose_strategies: IngressProxy has no effect on a job; "
            "HostPortMapping gives it a port of the host",
        )
        for i, port in enumerate(ports)
        if "IngressProxy" in (port.expose_strategies or ())
    ]
