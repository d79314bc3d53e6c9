"""Readiness probes of workloads in the prober's words."""

from .....runtime.probes import HttpGet, Probe, ProbeKind
from ....errors import Invalid, NotImplementedYet
from .. import wire_probes as wire

WHERE = "spec.probes.readiness"


def readiness_of(asked: wire.Probes, port: int | None) -> Probe | None:
    """
    None where none is asked for.

    Args:
        port: where the container listens, for a probe that names no port.

    Raises:
        Invalid: it says not what to ask, or where. NotImplementedYet: the prober cannot ask so.
    """
    probe, handler = asked.readiness, f"{WHERE}.handler.httpGet"
    if probe is None:
        return None
    get = probe.handler.http_get
    if get is None:
        raise Invalid(handler, "is missing; a probe needs it")
    if get.scheme != "HTTP":
        raise NotImplementedYet(f"{handler}.scheme: {get.scheme}")
    if get.host:
        raise NotImplementedYet(f"{handler}.host, so that a probe asks anybody but the pod")
    if (asked_port := get.port or port) is None:
        raise Invalid(f"{handler}.port", "is missing; name the port to ask")
    return Probe(
        ProbeKind.READINESS,
        HttpGet(asked_port, get.path or "/"),
        initial_delay_s=probe.initial_delay_seconds,
        period_s=probe.period_seconds,
        timeout_s=probe.timeout_seconds,
        successes=probe.success_threshold,
        failures=probe.failure_threshold,
    )
