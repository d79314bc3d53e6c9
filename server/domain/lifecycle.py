"""The one place that tells what serves from what runs to an end."""

from collections.abc import Sequence

from . import endpoints, runs
from .runs import Advance, Need, Outcome
from .workload import Attempt, Phase, Workload


def phase_of(workload: Workload, attempts: Sequence[Attempt]) -> Phase:
    """Derived from spec, decided and observed; nobody sets it by hand."""
    return (endpoints if workload.spec.serving else runs).phase_of(workload, attempts)


def needed(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> Need:
    return (endpoints if workload.spec.serving else runs).needed(workload, attempts, now_ms)


def wanted_replicas(workload: Workload, attempts: Sequence[Attempt]) -> int:
    """How many live or are to, now or as soon as they may."""
    if workload.spec.serving:
        return endpoints.wanted_replicas(workload)
    return runs.wanted_replicas(workload, attempts)


def next_try_ms(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> int | None:
    """When time alone will change something about this workload, or None."""
    return (endpoints if workload.spec.serving else runs).next_try_ms(workload, attempts, now_ms)


def expires_at_ms(workload: Workload, attempts: Sequence[Attempt]) -> int | None:
    return None if workload.spec.serving else runs.expires_at_ms(workload, attempts)


def advance(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> Advance | None:
    return (endpoints if workload.spec.serving else runs).advance(workload, attempts, now_ms)


def unwanted(workload: Workload, attempts: Sequence[Attempt]) -> dict[tuple[str, int], str]:
    """Why live attempts must end, by their key; those not in it go on."""
    if workload.spec.serving:
        return endpoints.unwanted(workload, attempts)
    live = [a for a in attempts if a.is_live]
    if not live:
        return {}
    has_failed = runs.outcome(workload, attempts) is Outcome.FAILED
    return {a.key: why for a in live if (why := runs.unwanted(workload, a, has_failed))}


def latest_attempts(workload: Workload, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Of the run that is on, or was last; while an endpoint is updated of the old replicas too."""
    on = endpoints.in_play(workload, attempts) if workload.spec.serving else []
    return on or list(runs.current_run(workload, attempts))
