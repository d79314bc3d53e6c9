"""When a project's rules end or preempt what runs in it. Pure: times come in, a verdict comes out."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum

from .org import Rules
from .runs import current_run
from .workload import Attempt, AttemptState, Workload

BUILD, TRAIN, DEPLOY = "Build", "Train", "Deploy"
CATEGORIES = {"job": TRAIN, "pod": BUILD, "endpoint": DEPLOY}


def category_of(workload: Workload) -> str:
    """`Build`, `Train` or `Deploy`; where it was not said it follows from the kind."""
    return workload.spec.category or CATEGORIES.get(workload.kind, TRAIN)


class Remedy(Enum):
    STOP = "stop"
    PREEMPT = "preempt"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`due_ms`: when the rule takes effect, perhaps long ago. `reason` is the event's."""

    remedy: Remedy
    due_ms: int
    reason: str
    message: str


def in_force(project: Rules, department: Rules) -> Rules:
    """Each time of the project's, or else of its department's."""
    mine = {f.name: getattr(project, f.name) for f in fields(Rules)}
    return Rules(**{k: getattr(department, k) if v is None else v for k, v in mine.items()})


def began_ms(workload: Workload, attempts: Sequence[Attempt]) -> int | None:
    """When its present run began to run; None where nothing of it runs."""
    run = current_run(workload, attempts)
    if not any(a.state is AttemptState.RUNNING for a in run):
        return None
    live = [a.started_at_ms for a in run if a.is_live and a.started_at_ms is not None]
    return min(live, default=None)


def verdicts(workload: Workload, rules: Rules, began_at_ms: int, idle_since_ms: int | None) -> list[Verdict]:
    """
    What the rules will do about it if nothing changes, the earliest first.

    Rules of interactive work are for `Build`, those of trainings for `Train`; `Deploy` has none.

    Args:
        idle_since_ms: since when its GPUs have had nothing to do; None: they have, or nobody knows.

    Source: schedulingRules of a project in Run:ai's API (contract, section 5), rule 19 of section 10.
    """
    category, found = category_of(workload), list[Verdict]()
    limits = {
        BUILD: (rules.interactive_time_limit_s, rules.interactive_max_idle_s),
        TRAIN: (rules.training_time_limit_s, rules.training_max_idle_s),
    }
    time_s, idle_s = limits.get(category, (None, None))
    if time_s is not None:
        message = f"it has run for {time_s} s, as long as its project allows; it is stopped"
        found.append(Verdict(Remedy.STOP, began_at_ms + time_s * 1000, "TimeLimit", message))
    if idle_since_ms is not None and workload.spec.gpu_count:
        if idle_s is not None:
            message = f"its GPUs have been idle for {idle_s} s, as long as its project allows; it is stopped"
            found.append(Verdict(Remedy.STOP, idle_since_ms + idle_s * 1000, "IdleLimit", message))
        preempt_s = rules.interactive_preempt_idle_s
        if preempt_s is not None and category == BUILD and workload.spec.is_preemptible:
            message = f"its GPUs have been idle for {preempt_s} s; it makes room, and waits in line again"
            found.append(Verdict(Remedy.PREEMPT, idle_since_ms + preempt_s * 1000, "IdleLimit", message))
    return sorted(found, key=lambda v: v.due_ms)
