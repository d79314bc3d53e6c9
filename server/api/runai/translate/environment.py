"""The variables that containers of Run:ai's workloads find."""

from typing import Any

from ....domain.workload import Attempt, Workload
from ..ids import KEY
from .distributed import rendezvous
from .pods import pod_name


def environment(workload: Workload, attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """Source: the published examples (RUNAI_*), the training operator (rendezvous)."""
    own: dict[str, Any] = workload.spec.extras[KEY]
    fields = {
        "metadata.name": pod_name(workload, attempt.index),
        "metadata.namespace": own.get("namespace", ""),
        "spec.nodeName": attempt.node,
    }
    members: tuple[tuple[str, str], ...] = ()
    if own["type"] == "Distributed":
        framework = own["spec"].get("distributedFramework", "PyTorch")
        members = rendezvous(framework, workload.spec.member_names, attempt.index)
    return (
        ("RUNAI_PROJECT", workload.workspace),
        ("RUNAI_JOB_NAME", workload.name),
        *members,
        *((name, fields[path]) for name, path in own.get("fields", {}).items()),
    )
