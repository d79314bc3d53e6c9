"""Faults and rules as users ask for them: checked, then in force at once."""

import re
import secrets
from typing import TYPE_CHECKING

from ...runtime.faults import OF_GPUS, Fault, FaultKind
from ..domain.inventory import HostNode
from ..errors import Invalid, NotFound, StoreUnavailable
from ..levers import Levers
from . import org
from .context import Services

if TYPE_CHECKING:
    from ...runtime.drivers.simulated import Rule

__all__ = ["Fault", "FaultKind", "add_fault", "add_rule", "clear_faults", "remove_rule"]
MOST_NAMED = 8
# What each kind is told by, beside a message.
_FIELDS = {kind: {"node", "gpu"} for kind in OF_GPUS} | {
    FaultKind.GPU_XID: {"node", "gpu", "code"},
    FaultKind.GPU_ECC: {"node", "gpu", "code"},
    FaultKind.NODE_DOWN: {"node"},
    FaultKind.IMAGE_PULL: {"image"},
}


def add_fault(
    services: Services, levers: Levers, *, kind: str, node: str = "", gpu: str | int = "", code: int = 0,
    image: str = "", message: str = "",
) -> Fault:  # fmt: skip
    """
    Args:
        gpu: its UUID, or its place on the node, counted from 0.

    Raises:
        Conflict: this server may not be disturbed. Invalid: names the field.
    """
    faults = levers.get_faults()
    kinds = {k.value: k for k in FaultKind}
    if kind not in kinds:
        raise Invalid("kind", f"{kind!r} is none of {', '.join(kinds)}")
    what = kinds[kind]
    given = {"node": node, "gpu": str(gpu), "code": code, "image": image}
    if odd := [name for name, value in given.items() if value and name not in _FIELDS.get(what, ())]:
        raise Invalid(odd[0], f"says nothing about {kind}; leave it out")
    uuid = ""
    if what is FaultKind.NODE_DOWN:
        found = _find_node(services, node)
        if found.id not in levers.simulated_nodes:
            raise Invalid("node", f"{node!r} is this machine, which runs on; only simulated nodes go down")
    elif what in OF_GPUS:
        uuid, node = _find_gpu(services, node, str(gpu))
    elif what is FaultKind.IMAGE_PULL and not image:
        raise Invalid("image", "is missing; give a pattern such as nvcr.io/*")
    if what is FaultKind.GPU_XID and not code:
        raise Invalid("code", "is missing; 79 is a GPU that has fallen off the bus")
    fault = Fault(
        f"{kind}-{secrets.token_hex(3)}", what,
        node=node, gpu=uuid, code=code, image=image, message=message, added_at_ms=services.clock.now_ms(),
    )  # fmt: skip
    try:
        faults.add(fault)
    except OSError as error:
        raise StoreUnavailable(f"the fault cannot be kept: {error.strerror}") from error
    services.poke()
    return fault


def clear_faults(services: Services, levers: Levers, fault_id: str | None = None) -> tuple[Fault, ...]:
    """That one, or all; those that were in force."""
    faults = levers.get_faults()
    there = ", ".join(f.id for f in faults.faults[:MOST_NAMED])
    try:
        gone = faults.clear(fault_id)
    except OSError as error:
        raise StoreUnavailable(f"what is left cannot be kept: {error.strerror}") from error
    if fault_id is not None and not gone:
        raise NotFound("fault", fault_id, among=there or "none in force")
    services.poke()
    return gone


def _find_node(services: Services, name: str) -> HostNode:
    nodes = org.nodes_now(services)
    found = next((n for n in nodes if n.id == name), None)
    if found is None:
        there = ", ".join(n.id for n in nodes[:MOST_NAMED])
        more = f" and {len(nodes) - MOST_NAMED} more" if len(nodes) > MOST_NAMED else ""
        raise Invalid("node", f"no node named {name!r}; there is {there}{more}")
    return found


def _find_gpu(services: Services, node: str, gpu: str) -> tuple[str, str]:
    """The UUID of a device, or of an instance of one, and the name of its node."""
    nodes = [_find_node(services, node)] if node else list(org.nodes_now(services))
    if not gpu:
        raise Invalid("gpu", "is missing; give a UUID, or the place on the node, counted from 0")
    for one in nodes:
        if gpu in {g.uuid for g in one.gpus} | {g.parent_uuid for g in one.gpus}:
            return gpu, one.id
    if re.fullmatch("[0-9]{1,9}", gpu) is None:
        raise Invalid("gpu", f"no GPU {gpu!r} on {node or 'any node'}; /homeport/info lists them")
    if not node:
        raise Invalid("node", f"is missing; GPU {gpu} of which node?")
    devices = list(dict.fromkeys(g.parent_uuid or g.uuid for g in nodes[0].gpus))
    if int(gpu) >= len(devices):
        raise Invalid("gpu", f"{node} has {len(devices)} GPU(s), counted from 0")
    return devices[int(gpu)], node


def add_rule(levers: Levers, rule: "Rule") -> None:
    book = levers.get_rules()
    try:
        book.add(rule)
    except OSError as error:
        raise StoreUnavailable(f"the rule cannot be kept: {error.strerror}") from error


def remove_rule(levers: Levers, name: str) -> None:
    """
    Raises:
        Invalid: the rule is in the seed file. NotFound: there is none.
    """
    book = levers.get_rules()
    try:
        is_gone = book.remove(name)
    except OSError as error:
        raise StoreUnavailable(f"what is left cannot be kept: {error.strerror}") from error
    if is_gone:
        return
    if any(rule.id == name for rule in book.given):
        raise Invalid("name", f"{name!r} is in the seed file; change it there, or add a rule before it")
    there = ", ".join(r.id for r in book.added[:MOST_NAMED])
    raise NotFound("rule", name, among=there or "none that was added")
