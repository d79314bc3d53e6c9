"""When a project's rules end or preempt what runs in it. Pure: times come in, a verdict comes out."""

from collections.abc import Mapping, Sequence
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
    """
    Args:
        due_ms: when the rule takes effect, perhaps long ago. reason: the event's.
        message: which rule it is, whose, and what can be done about it.
    """

    remedy: Remedy
    due_ms: int
    reason: str
    message: str


# As clients spell them. Source: schedulingRules of projects and departments in Run:ai's API.
FIELDS = {
    "interactive_time_limit_s": "interactiveJobTimeLimitSeconds",
    "interactive_max_idle_s": "interactiveJobMaxIdleDurationSeconds",
    "interactive_preempt_idle_s": "interactiveJobPreemptIdleDurationSeconds",
    "training_time_limit_s": "trainingJobTimeLimitSeconds",
    "training_max_idle_s": "trainingJobMaxIdleDurationSeconds",
}


def in_force(project: Rules, department: Rules) -> Rules:
    """Each time of the project's, or else of its department's."""
    mine = {f.name: getattr(project, f.name) for f in fields(Rules)}
    return Rules(**{k: getattr(department, k) if v is None else v for k, v in mine.items()})


def givers(project: Rules, names: tuple[str, str]) -> dict[str, str]:
    """
    Whose each rule in force is, by its field.

    Args:
        names: of the project and of its department.
    """
    mine, theirs = f"project {names[0]}", f"department {names[1]}"
    return {f.name: theirs if getattr(project, f.name) is None else mine for f in fields(Rules)}


def began_ms(workload: Workload, attempts: Sequence[Attempt]) -> int | None:
    """When its present run began to run; None where nothing of it runs."""
    run = current_run(workload, attempts)
    if not any(a.state is AttemptState.RUNNING for a in run):
        return None
    live = [a.started_at_ms for a in run if a.is_live and a.started_at_ms is not None]
    return min(live, default=None)


def verdicts(
    workload: Workload,
    rules: Rules,
    began_at_ms: int,
    idle_since_ms: int | None,
    given_by: Mapping[str, str] | None = None,
) -> list[Verdict]:
    """
    What the rules will do about it if nothing changes, the earliest first.

    Rules of interactive work are for `Build`, those of trainings for `Train`; `Deploy` has none.

    Args:
        idle_since_ms: since when its GPUs have had nothing to do; None: they have, or nobody knows.
        given_by: as `givers` has it.

    Source: schedulingRules of a project in Run:ai's API (contract, section 5), rule 19 of section 10.
    """
    category, whose, found = category_of(workload), given_by or {}, list[Verdict]()

    def add(field: str, remedy: Remedy, since_ms: int, reason: str, has: str) -> None:
        seconds: int | None = getattr(rules, field)
        if seconds is None:
            return
        rule = f"{FIELDS[field]} of {whose.get(field, f'project {workload.workspace}')}"
        what = f"it {has} for {seconds} s, which is {rule}"
        after = f"start it again, or have schedulingRules.{FIELDS[field]} raised"
        if remedy is Remedy.PREEMPT:
            after = "others wait for what it has, and it waits in line again"
        found.append(Verdict(remedy, since_ms + seconds * 1000, reason, f"{what}; {after}"))

    kind = {BUILD: "interactive", TRAIN: "training"}.get(category)
    if kind is not None:
        add(f"{kind}_time_limit_s", Remedy.STOP, began_at_ms, "TimeLimit", "has run")
        if idle_since_ms is not None and workload.spec.gpu_count:
            add(f"{kind}_max_idle_s", Remedy.STOP, idle_since_ms, "IdleLimit", "has left its GPUs idle")
            if category == BUILD and workload.spec.is_preemptible:
                add(
                    "interactive_preempt_idle_s", Remedy.PREEMPT, idle_since_ms, "IdleLimit",
                    "has left its GPUs idle",
                )  # fmt: skip
    return sorted(found, key=lambda v: v.due_ms)
