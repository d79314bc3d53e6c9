"""What becomes of an endpoint's replicas: who they are, why one is not ready, how they ended."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ....domain.endpoints import in_play, is_ready, serving_of, wanted_replicas
from ....domain.workload import Attempt, AttemptState, Workload
from . import jobs


def _replica(workload: Workload, attempt: Attempt, public_ip: str) -> dict[str, Any]:
    made = jobs.replica_to_wire(attempt)
    made["metadata"]["semantic_version"] = f"{workload.major}.{workload.minor}"
    made["status"]["public_ip"] = public_ip
    return made


def replicas_to_wire(workload: Workload, attempts: Sequence[Attempt], public_ip: str) -> list[dict[str, Any]]:
    """Those that live, in order. `public_ip` is where their host ports are."""
    live = sorted((a for a in attempts if a.is_live), key=lambda a: a.index)
    return [_replica(workload, attempt, public_ip) for attempt in live]


def readiness_to_wire(
    workload: Workload, attempts: Sequence[Attempt], refusal: Sequence[str]
) -> dict[str, Any]:
    """Never an empty inner list: the CLI reads its first item."""
    newest = {a.replica_id: a for a in in_play(workload, attempts)}
    if not newest and wanted_replicas(workload):
        issue = _issue("NoCapacity", "; ".join(refusal) or "it waits for its turn", workload.created_at_ms)
        return {f"{workload.id}-0-{workload.id[-4:]}": [issue]}
    return {name: [_readiness(workload, attempt)] for name, attempt in newest.items()}


def _readiness(workload: Workload, attempt: Attempt) -> dict[str, str]:
    since_ms = attempt.finished_at_ms or attempt.started_at_ms or attempt.placed_at_ms
    if is_ready(workload, attempt):
        return _issue("Ready", "it takes requests", since_ms)
    if workload.is_deleting:
        return _issue("Deleting", "it was removed", since_ms)
    if not attempt.is_live:
        reason = "ConfigError" if attempt.started_at_ms is None else "SystemError"
        return _issue(reason, attempt.message, since_ms)
    if attempt.draining_at_ms is not None:
        return _issue("Deleting", f"it takes no new requests: {attempt.draining_why}", attempt.draining_at_ms)
    if attempt.is_paused:
        return _issue("InProgress", "it is paused, for want of traffic", since_ms)
    if attempt.state is AttemptState.PLACED and attempt.message:  # its image cannot be pulled
        return _issue("ConfigError", attempt.message, since_ms)
    if attempt.state is AttemptState.PLACED:
        return _issue("InProgress", "its container is being started", since_ms)
    probe = serving_of(workload).readiness
    if probe is None or (attempt.readiness is not None and attempt.readiness.is_passing):
        message = f"`homeport approve {workload.name} {attempt.replica_id}` lets it take requests"
        return _issue("RequireReadinessApproval", message, since_ms)
    return _issue("InProgress", f"port {probe.handler.port} does not accept connections yet", since_ms)


def _issue(reason: str, message: str, at_ms: int) -> dict[str, str]:
    at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    return {"reason": reason, "message": message, "creationTimestamp": at}


def terminations_to_wire(attempts: Sequence[Attempt]) -> dict[str, list[dict[str, Any]]]:
    """Ends of containers by replica; times in seconds."""
    ends: dict[str, list[dict[str, Any]]] = {}
    for attempt in attempts:
        if attempt.is_live or attempt.started_at_ms is None:
            continue
        ends.setdefault(attempt.replica_id, []).append(
            {
                "started_at": attempt.started_at_ms // 1000,
                "finished_at": (attempt.finished_at_ms or attempt.started_at_ms) // 1000,
                "exit_code": attempt.exit_code if attempt.exit_code is not None else -1,
                "reason": attempt.reason,
                "message": attempt.message,
            }
        )
    return ends
