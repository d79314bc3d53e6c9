"""What others have written about a live attempt since it was loaded."""

from dataclasses import replace

from ..domain.workload import Attempt
from ..store.active import Entry


def is_to_start(entry: Entry | None, attempt: Attempt) -> bool:
    """
    It lives and is wanted, and nobody has told it to make room while it waited for its image.

    Args:
        entry: of its workload as it is now; None: that is at rest.
    """
    if entry is None or not entry.found.workload.is_wanted:
        return False
    current = next((a for a in entry.attempts if a.key == attempt.key), None)
    return current is not None and current.is_live and current.evicting_at_ms is None


def as_told_since(current: Attempt, attempt: Attempt) -> Attempt:
    """What probes and people say of a live attempt is theirs to write, also since it was loaded."""
    if not attempt.is_live:
        return attempt
    return replace(
        attempt, readiness=current.readiness, liveness=current.liveness, is_approved=current.is_approved,
        ready_at_ms=current.ready_at_ms or attempt.ready_at_ms,
        evicting_at_ms=current.evicting_at_ms, evicted_by=current.evicted_by,
        evicted_why=current.evicted_why,
        draining_at_ms=attempt.draining_at_ms or current.draining_at_ms,
        draining_why=attempt.draining_why or current.draining_why,
    )  # fmt: skip
