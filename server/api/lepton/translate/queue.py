"""Where a workload stands in its queue, and who may take whose place."""

import re
from typing import NamedTuple

from ....errors import Invalid
from .. import wire

PRIORITY_CLASS = re.compile(r"(low|mid|high)-([1-9])000")
CLASSES = {"low": "123", "mid": "456", "high": "789"}
MID = 67  # mid-4000
# Without a queue_config. Design: a job is mid-4000; endpoints and pods go before jobs.
JOB_PRIORITY, ENDPOINT_PRIORITY, POD_PRIORITY = MID, 150, 125


class Standing(NamedTuple):
    """As `WorkloadSpec` has it."""

    priority: int
    is_preemptible: bool
    can_preempt: bool


def standing_of(queue: wire.QueueConfig | None, default: int = JOB_PRIORITY) -> Standing:
    """
    Class `x-n` is round(n / 60) on the one scale of 0 to 150, so mid-4000 is 67.

    Whoever says anything of the queue has mid-4000 unless they name a class.
    Source: leptonai 0.47.1, cli.util.apply_nodegroup_and_queue_config.
    """
    if queue is None or (queue.priority_class, queue.can_preempt, queue.can_be_preempted) == (None,) * 3:
        return Standing(default, False, False)
    return Standing(_priority(queue.priority_class), bool(queue.can_be_preempted), bool(queue.can_preempt))


def _priority(name: str | None) -> int:
    if name is None:
        return MID
    match = PRIORITY_CLASS.fullmatch(name)
    if match is None or match[2] not in CLASSES[match[1]]:
        known = ", ".join(f"{word}-{n}000" for word, numbers in CLASSES.items() for n in numbers)
        raise Invalid("spec.queue_config.priority_class", f"{name!r} is none of {known}")
    return round(int(match[2]) * 1000 / 60)
