"""Evicts what runs on a node with a `NoExecute` taint and does not tolerate it, or not for so long."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from sqlmodel import Session

from ...scheduler.filters import covers
from ...scheduler.model import Effect, Snapshot, Taint
from ..domain.evictions import TAINT, evicting
from ..domain.inventory import HostNode
from ..domain.lifecycle import unwanted
from ..domain.rollouts import as_started
from ..domain.runs import is_below_minimum
from ..domain.workload import Attempt, Toleration, Workload
from ..snapshot import Facts, Work
from ..snapshot.asks import toleration
from ..store.store import Store
from ..store.writes import add_event, load_attempts, load_workload, save_attempt

NO_EXECUTE = Effect.NO_EXECUTE.value


@dataclass(frozen=True, slots=True)
class Barred:
    """
    What an attempt may not stay for.

    Args:
        taint: as people write it, `team=vision:NoExecute`.
        at_ms: from when on; tolerated_s: for how long its workload tolerates it, None: not at all.
        is_given: by people, who can take it away; else the node was declared with it.
    """

    node: str
    taint: str
    at_ms: int
    tolerated_s: int | None
    is_given: bool

    @property
    def why(self) -> str:
        return f"the taint {self.taint} of node {self.node}"

    @property
    def remedy(self) -> str:
        """Source of the field's name: `Toleration` of runapy 1.224.0; Lepton's clients have none."""
        key, _, effect = self.taint.rpartition(":")
        command = f"homeport node untaint {self.node} {key.partition('=')[0]}:{effect}"
        away = f"have it taken away ({command})" if self.is_given else "change the node's declaration"
        return f"tolerate it (tolerations, in Run:ai's words), or {away}"


@dataclass(frozen=True, slots=True)
class Leaving:
    """An attempt that is to be evicted now, and the event that says so."""

    attempt: Attempt
    why: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`next_ms`: when more of it is to leave, if nothing changes; None: never."""

    leaving: tuple[Leaving, ...] = ()
    next_ms: int | None = None


def tainted(nodes: Iterable[HostNode], down: frozenset[str] = frozenset()) -> dict[str, HostNode]:
    """By id, those with a `NoExecute` taint. What is on a node that is down is lost, whatever it bears."""
    given = (n for n in nodes if n.taints and n.id not in down)
    return {n.id: n for n in given if any(effect == NO_EXECUTE for _, _, effect in n.taints)}


def barred(tolerations: Sequence[Toleration], node: HostNode, placed_at_ms: int) -> Barred | None:
    """
    The first of the node's `NoExecute` taints for which what was placed there may not stay for ever.

    Of several tolerations of one taint the first counts. Time runs from when both were there, the taint and
    the attempt. Source: Kubernetes, its taint eviction controller; `tolerationSeconds`.
    """
    found: list[Barred] = []
    since = {(key, effect): at_ms for key, effect, at_ms in node.tainted_at_ms}
    for key, value, effect in node.taints:
        if effect != NO_EXECUTE:
            continue
        one = Taint(key, value, Effect.NO_EXECUTE)
        first = next((t for t in tolerations if covers(toleration(t), one)), None)
        told, is_given = f"{key}={value}:{effect}" if value else f"{key}:{effect}", (key, effect) in since
        if first is None:
            found.append(Barred(node.id, told, 0, None, is_given))
        elif len(first) == 4:
            at_ms = max(since.get((key, effect), 0), placed_at_ms) + first[3] * 1000
            found.append(Barred(node.id, told, at_ms, first[3], is_given))
    return min(found, key=lambda b: (b.at_ms, b.taint), default=None)


def judge(
    workload: Workload, attempts: Sequence[Attempt], nodes: Mapping[str, HostNode], now_ms: int
) -> Verdict:
    """
    Who of a workload has to leave its node. Members of a gang that cannot go on without those leave too, and
    wait with them. What ends in any case is left alone, and so is what was told to make room.

    Args:
        attempts: all of the workload's. nodes: as `tainted` answers them.
    """
    ends = unwanted(workload, attempts)
    found: dict[tuple[str, int], Barred] = {}
    for attempt in attempts:
        if attempt.is_live and attempt.key not in ends and attempt.node in nodes:
            spec = as_started(workload, attempt).spec
            if one := barred(spec.tolerations, nodes[attempt.node], attempt.placed_at_ms):
                found[attempt.key] = one
    now = {key: one for key, one in found.items() if one.at_ms <= now_ms}
    next_ms = min((one.at_ms for one in found.values() if one.at_ms > now_ms), default=None)
    if not now:
        return Verdict((), next_ms)
    leaving = [_leaving(a, now[a.key]) for a in attempts if a.key in now]
    stay = [a for a in attempts if a.key not in now and (not a.is_live or a.key not in ends)]
    if is_below_minimum(workload, stay):
        first = leaving[0]
        leaving += [_with(a, first) for a in stay if a.is_live]
    return Verdict(tuple(leaving), next_ms)


def _leaving(attempt: Attempt, one: Barred) -> Leaving:
    how_far = "not tolerated" if one.tolerated_s is None else f"tolerated for {one.tolerated_s} s only"
    message = (
        f"{attempt.replica_id} is evicted: node {one.node} has the taint {one.taint}, which is {how_far}; "
        f"it waits in its old place in line for a node without it. To let it run there, {one.remedy}"
    )
    return Leaving(attempt, one.why, message)


def _with(attempt: Attempt, first: Leaving) -> Leaving:
    message = (
        f"{attempt.replica_id} is evicted: its gang cannot go on without {first.attempt.replica_id}, "
        f"which is evicted for {first.why}; all wait together"
    )
    return Leaving(attempt, first.why, message)


class TaintKeeper:
    """It looks at what is, not at what was told: a restart of the server changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: Snapshot | None = None
        self._next_ms = inf
        self._nodes: dict[str, HostNode] = {}
        self._judged: dict[str, tuple[Work, int | None]] = {}  # what may stay, and until when

    async def step(
        self, snapshot: Snapshot, works: Mapping[str, Work], facts: Facts, now_ms: int
    ) -> tuple[bool, float]:
        """
        Whether something was evicted, and the seconds until it should look again.

        Args:
            snapshot: made from these works and facts; the same object as long as nothing has changed.
        """
        if snapshot is not self._seen or now_ms >= self._next_ms:
            nodes = tainted(facts.nodes, facts.down)
            if nodes != self._nodes:
                self._nodes, self._judged = nodes, {}
            if leaving := self._look(snapshot, works, now_ms):
                # Not kept as seen: where the write fails the next pass tries again.
                self._seen = None
                return await self._store.write(lambda s: _evict(s, leaving, nodes, now_ms)), 0.0
            self._seen = snapshot
            self._next_ms = min((at for _, at in self._judged.values() if at is not None), default=inf)
        return False, max(0.0, (self._next_ms - now_ms) / 1000)

    def _look(self, snapshot: Snapshot, works: Mapping[str, Work], now_ms: int) -> list[str]:
        """Ids of workloads of which something has to leave. Those that are as before are not judged again."""
        running = snapshot.running if self._nodes else ()
        here = {r.workload for r in running if r.placement.node in self._nodes}
        before, self._judged, leaving = self._judged, {}, list[str]()
        for workload_id in here:
            work, known = works[workload_id], before.get(workload_id)
            if known is None or known[0] is not work or (known[1] is not None and known[1] <= now_ms):
                verdict = judge(work.workload, work.attempts, self._nodes, now_ms)
                if verdict.leaving:
                    leaving.append(workload_id)
                    continue
                known = (work, verdict.next_ms)
            self._judged[workload_id] = known
        return sorted(leaving)


def _evict(session: Session, ids: Sequence[str], nodes: Mapping[str, HostNode], now_ms: int) -> bool:
    """Judged again by what is there now. A gang leaves whole, or none of it does."""
    has_told = False
    for workload_id in ids:
        workload = load_workload(session, workload_id)
        if workload is None:
            continue
        for one in judge(workload, load_attempts(session, workload_id), nodes, now_ms).leaving:
            save_attempt(session, evicting(workload, one.attempt, TAINT, None, now_ms, why=one.why))
            add_event(session, workload_id, now_ms, "Evicted", one.message, type_="Warning")
            has_told = True
    return has_told
