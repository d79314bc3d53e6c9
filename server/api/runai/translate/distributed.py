"""
Members of a distributed workload: what they are called, and how they find each other.

Source: the training operator's conventions for PyTorchJob, XGBoostJob, TFJob and JAXJob.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ....errors import Invalid, NotImplementedYet
from ..wire_workloads import DistributedCreation

PORTS: Mapping[str, int] = {"PyTorch": 23456, "XGBoost": 9999, "TF": 2222, "JAX": 6666}
WITH_MASTER = ("PyTorch", "XGBoost")  # the others' first worker leads
NAME_BYTES = 63  # of a DNS label


@dataclass(frozen=True, slots=True)
class Members:
    """
    Args:
        names: of all there can be, the leading one first. least: of them, that start together.
    """

    names: tuple[str, ...]
    least: int


def members_of(creation: DistributedCreation, name: str) -> Members:
    """
    A master where the framework has one, and `numWorkers` workers. Elastic work (PyTorch) has up to
    `maxReplicas` workers, and goes on with `minReplicas` of them.

    Raises:
        Invalid: the numbers contradict each other.
    """
    spec = creation.spec
    framework = spec.distributed_framework
    workers = spec.num_workers if spec.num_workers is not None else spec.max_replicas
    if workers is None:
        raise Invalid("spec.numWorkers", "is missing; it is at least 1")
    least = workers
    if spec.min_replicas is not None or spec.max_replicas is not None:
        if framework != "PyTorch":
            field = "minReplicas" if spec.min_replicas is not None else "maxReplicas"
            raise Invalid(f"spec.{field}", f"only PyTorch is elastic, not {framework}; leave it out")
        least, most = spec.min_replicas or 1, spec.max_replicas or workers
        if not least <= workers <= most:
            raise Invalid(
                "spec.numWorkers", f"{workers} must be from minReplicas, {least}, to maxReplicas, {most}"
            )
        workers = most
    if framework not in WITH_MASTER and creation.master_spec is not None:
        raise NotImplementedYet(f"masterSpec of {framework}")
    masters = (f"{name}-master-0",) if framework in WITH_MASTER else ()
    names = (*masters, *(f"{name}-worker-{i}" for i in range(workers)))
    if len(names[-1]) > NAME_BYTES:
        raise Invalid(
            "name", f"is too long for its pods: {names[-1]!r} has more than {NAME_BYTES} characters"
        )
    return Members(names, least + len(masters))


def rendezvous(framework: str, names: tuple[str, ...], index: int) -> tuple[tuple[str, str], ...]:
    """The variables by which a member learns its place among the others."""
    port, size = str(PORTS[framework]), str(len(names))
    match framework:
        case "TF":
            task = {"type": "worker", "index": index}
            cluster = {"worker": [f"{name}:{port}" for name in names]}
            return (("TF_CONFIG", json.dumps({"cluster": cluster, "task": task, "environment": "cloud"})),)
        case "JAX":
            return (
                ("COORDINATOR_ADDRESS", names[0]),
                ("COORDINATOR_PORT", port),
                ("NUM_PROCESSES", size),
                ("PROCESS_ID", str(index)),
            )
        case _:
            return (
                ("MASTER_ADDR", names[0]),
                ("MASTER_PORT", port),
                ("WORLD_SIZE", size),
                ("RANK", str(index)),
                ("PYTHONUNBUFFERED", "1"),
            )
