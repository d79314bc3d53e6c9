"""Labels and taints that people give to nodes; labels put nodes into pools."""

from collections.abc import Mapping

from sqlmodel import Session

from ..domain.inventory import HostNode
from ..domain.pools import NodeNote
from ..errors import Conflict, NotFound
from ..store import org as rows
from . import org
from . import org_checks as checks
from .context import Services


async def note_node(
    services: Services,
    node: str,
    *,
    labels: Mapping[str, str | None] | None = None,
    taints: Mapping[tuple[str, str], str | None] | None = None,
) -> HostNode:
    """
    Give labels and taints to a node, or take those back that were given. The reconcile loop then evicts
    what does not tolerate a `NoExecute`.

    Args:
        labels: None for a value takes the label away.
        taints: value by key and effect; None for a value takes the taint away.

    Raises:
        Invalid: a label or a taint cannot be so. Conflict: what is to be taken is not there,
        or is the node's own.
    """
    known = [n.id for n in services.nodes]
    if node not in known:
        raise NotFound("node", node, among=checks.few(known))
    for key, value in (labels or {}).items():
        checks.check_label(key, value or "", "labels")
    declared = {key for n in services.nodes if n.id == node for key, _ in n.labels}
    own = {(key, effect) for n in services.nodes if n.id == node for key, _, effect in n.taints}
    for (key, effect), value in (taints or {}).items():
        checks.check_label(key, value or "", "taints")
        checks.check_effect(effect)

    def save(session: Session) -> None:
        note = rows.load_note(session, node)
        for key, value in (labels or {}).items():
            if value is None and key not in dict(note.labels):
                if key in declared:
                    raise Conflict(f"node {node} was declared with the label {key}; change its declaration")
                raise Conflict(f"node {node} has no label {key} to take away")
        given = {(key, effect) for key, _, effect in note.taints}
        for (key, effect), value in (taints or {}).items():
            if value is None and (key, effect) not in given:
                taint = f"{key}:{effect}"
                if (key, effect) in own:
                    raise Conflict(f"node {node} was declared with the taint {taint}; change its declaration")
                raise Conflict(f"node {node} has no taint {taint} to take away")
        rows.save_note(session, node, _changed(note, labels or {}, taints or {}, services.clock.now_ms()))

    await services.store.write(save)
    services.poke()  # it may be in another pool now
    return next(n for n in org.nodes_now(services) if n.id == node)


def _changed(
    note: NodeNote,
    labels: Mapping[str, str | None],
    taints: Mapping[tuple[str, str], str | None],
    now_ms: int,
) -> NodeNote:
    """With those, and without those whose value is None; a taint that stays as it is keeps its time."""
    all_labels: dict[str, str | None] = {**dict(note.labels), **labels}
    all_taints: dict[tuple[str, str], str | None] = {
        **{(key, effect): value for key, value, effect in note.taints}, **taints,
    }  # fmt: skip
    left = tuple((key, v, effect) for (key, effect), v in all_taints.items() if v is not None)
    since = tuple(
        (key, effect, note.since_ms(key, effect) if (key, v, effect) in note.taints else now_ms)
        for key, v, effect in left
    )
    return NodeNote(tuple((key, v) for key, v in all_labels.items() if v is not None), left, since)
