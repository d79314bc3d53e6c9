"""What a container is given of its GPUs, and what it is told about sharing them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...runtime.model import ContainerSpec
from ...runtime.mps import Mps, limits
from ..domain.inventory import HostNode
from ..domain.workload import Attempt
from ..store.store import Store
from ..store.writes import add_event

# CUDA's own order is by speed, which differs from everybody else's: what a program calls device 0
# is then another one than nvidia-smi's. Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
DEFAULTS = (("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),)
SHARED = "GPUShared"


@dataclass(frozen=True, slots=True)
class HandOver:
    """
    Args:
        real: devices to hand over, by UUID; simulated ones are none.
        defaults: environment that the workload's own goes over. env: that goes over the workload's.
        mps_pipes: see `ContainerSpec`.
    """

    real: tuple[str, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    mps_pipes: Path | None = None


def hand_over(node: HostNode | None, attempt: Attempt, find_mps: Callable[[], Mps | None]) -> HandOver:
    """
    Args:
        node: the attempt's; None: it is no more.
        find_mps: asked only where an attempt shares real GPUs.
    """
    if not attempt.gpu_uuids:
        return HandOver()
    known = {g.uuid: g for g in node.gpus} if node is not None else {}
    real = tuple(u for u in attempt.gpu_uuids if u not in known or not known[u].is_simulated)
    env: list[tuple[str, str]] = []
    if len(real) < len(attempt.gpu_uuids):
        env.append(("HOMEPORT_SIMULATED_GPU", "1"))
    pipes = None
    if attempt.gpu_portion < 1:
        env.append(("HOMEPORT_GPU_PORTION", f"{attempt.gpu_portion:g}"))
        if real and (mps := find_mps()) is not None:
            memory = [int(known[u].memory_mib * attempt.gpu_portion) for u in real if u in known]
            # The daemon knows all GPUs of the host, also where a container has the device files of some.
            env += [("CUDA_VISIBLE_DEVICES", ",".join(real)), *limits(mps, attempt.gpu_portion, memory)]
            pipes = mps.pipes
    return HandOver(real, DEFAULTS, tuple(env), pipes)


def sharing_note(attempt: Attempt, spec: ContainerSpec) -> str:
    """What keeps it and the others on its GPUs apart, honestly; "" where it has them for itself."""
    if attempt.gpu_portion >= 1 or not spec.gpu_uuids:
        return ""
    what = f"{attempt.replica_id} has {attempt.gpu_portion:g} of {', '.join(spec.gpu_uuids)}"
    if spec.mps_pipes is None:
        return (
            f"{what}, shared by time-slicing: no MPS daemon runs on {attempt.node}, "
            "so nothing keeps memory and time of those who share it apart"
        )
    told = dict(spec.env)
    return (
        f"{what}, shared through MPS: its programs get at most "
        f"{told['CUDA_MPS_PINNED_DEVICE_MEM_LIMIT']} of memory and "
        f"{told['CUDA_MPS_ACTIVE_THREAD_PERCENTAGE']} % of the threads"
    )


async def tell_sharing(store: Store, attempt: Attempt, spec: ContainerSpec, now_ms: int) -> None:
    if note := sharing_note(attempt, spec):
        await store.write(lambda s: add_event(s, attempt.workload_id, now_ms, SHARED, note))
