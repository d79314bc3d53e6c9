"""
Names of priorities, and what follows from a workload's type where it says nothing.

Source: contract section 10, rules 2 and 3, from NVIDIA's page on workload priority and KAI's docs/priority.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ....errors import Invalid

PRIORITIES = {
    "very-low": 25,
    "low": 40,
    "medium-low": 65,
    "medium": 80,
    "medium-high": 90,
    "high": 125,
    "very-high": 150,
}
OLDER = {
    "train": 50,
    "interactive-preemptible": 75,
    "build-preemptible": 75,
    "build": 100,
    "inference": 125,
}
NON_PREEMPTIBLE = 100  # from here on a workload is, unless it says otherwise
CATEGORIES: Mapping[str, str] = {
    "Build": "work by hand: notebooks, shells, debugging",
    "Train": "training and other work that runs to its end",
    "Deploy": "serving models",
}


@dataclass(frozen=True, slots=True)
class Type:
    """A type of workloads: what it is for, and its priority, by default."""

    name: str
    category: str
    priority: str


TYPES: Mapping[str, Type] = {
    t.name: t
    for t in (
        Type("Workspace", "Build", "high"),
        Type("Training", "Train", "low"),
        Type("Distributed", "Train", "low"),
        Type("Inference", "Deploy", "very-high"),
    )
}


def value_of(name: str | None, of_type: Type) -> int:
    """
    Raises:
        Invalid: there is no priority of that name.
    """
    known = PRIORITIES | OLDER
    if name is None:
        return known[of_type.priority]
    if name not in known:
        raise Invalid("spec.priorityClass", f"{name!r} is none of {', '.join(known)}")
    return known[name]


def is_preemptible(preemptibility: str | None, priority: int) -> bool:
    """What it says itself goes before its priority."""
    if preemptibility is not None:
        return preemptibility == "preemptible"
    return priority < NON_PREEMPTIBLE


def name_of(priority: int) -> str:
    """The highest one that a priority reaches; those of Lepton's classes lie between."""
    return max(
        (n for n, v in PRIORITIES.items() if v <= priority), key=PRIORITIES.__getitem__, default="very-low"
    )
