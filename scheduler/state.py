"""A working copy of a snapshot that can be tried out: what is free, who has what, and a way back."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import attrgetter

from .domains import Cells
from .index import Index
from .model import Amounts, AskClass, Placement, Pool, Running, Share, Snapshot, Unplaced
from .needs import EVERYWHERE, Candidates, Need, Outline, capacity, could_hold, need_of, placed_amounts
from .nodes import NodeState
from .place import Failure, find, find_silently
from .scores import Scorer, Shape
from .shares import CPU, GPUS, MEMORY, RESOURCES, Account, Tree, Triple
from .staying import Staying

_NODE, _ACCOUNT, _RUNNING = range(3)


class State:
    """
    Every amount has two readings. *Now* is what nobody has and nobody is promised. *Later* (`with_leaving`)
    is what will be free as well once those have gone that were told to end, less what was promised of it.
    What is placed now is taken from both, what is promised only from later; what is released is added to
    later alone. So a promise can never be broken by a later placement.

    All lists come in the order of the snapshot, and all choices end in the node's name: the same calls
    give the same answers. Where the snapshot has no queues there is no accounting, and no share.
    Fair shares are computed once, from what runs and waits at the start.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.nodes: tuple[NodeState, ...] = tuple(
            NodeState(node, order)
            for order, node in enumerate(sorted(snapshot.nodes, key=attrgetter("name")))
        )
        self.by_name = {n.node.name: n for n in self.nodes}
        self.changes: list[int] = []  # numbers of the nodes that changed, for the indexes to catch up with
        self.indexes: dict[tuple[object, ...], Index] = {}
        self.outlines: dict[tuple[object, ...], Outline] = {}
        self.kinds: dict[tuple[object, ...], int] = {}
        self.dead: dict[tuple[int, bool], Failure] = {}  # refusals that hold until something is given back
        self._candidates: dict[tuple[object, ...], Candidates] = {}
        self._cells: dict[tuple[object, ...], Cells] = {}
        self.has_leaving = False
        self.moving: list[Running] = []
        self._log: list[tuple[object, ...]] = []
        self._is_marked = False  # until somebody may want to come back, nothing has to be remembered
        self._needs: dict[int, tuple[AskClass, Need]] = {}
        self._scorers: dict[tuple[Shape, str], Scorer] = {}
        self._device_sizes: dict[tuple[str, str | None], frozenset[int]] = {}
        self._free_later: dict[str, tuple[int, float]] = {}
        self._released: set[str] = set()
        self._staying = Staying(snapshot.running, self._released)
        self.pools = {p.name: p for p in snapshot.pools}
        self._nodes_by_pool: dict[str, list[NodeState]] = {EVERYWHERE: list(self.nodes)}
        for n in self.nodes:
            self._nodes_by_pool.setdefault(n.pool, []).append(n)
        unnamed = sorted(set(self._nodes_by_pool) - set(self.pools) - {EVERYWHERE})
        self.pool_names: tuple[str, ...] = (*self.pools, *unnamed)
        self.tree = Tree(snapshot)
        self._settle()
        self.tree.divide(self)

    def _settle(self) -> None:
        """Counts what runs, for its queues and on its node."""
        by_name, tree = self.by_name, self.tree
        tallies: dict[tuple[str, str, bool], Sequence[list[float]]] = {}
        for r in self.snapshot.running:  # thousands of times in each cycle, so as few calls as can be
            ask, place = r.ask, r.placement
            node = by_name.get(place.node)
            if node is None:
                continue  # its node is gone, and with it what it had
            if ask.spread or r.is_leaving:
                node.settle(r)
                if r.is_leaving:
                    self._settle_leaving(r, node.pool)
                    continue
            whose = ask.queue, node.pool, ask.is_preemptible
            held = tallies.get(whose)
            if held is None:
                held = tallies[whose] = tree.tallies(*whose)
            gpus = len(place.gpu_uuids) * place.gpu_portion
            if ask.mig_profile:
                gpus = placed_amounts(ask, place)[GPUS]
            cpu, memory = ask.cpu, ask.memory_mib
            for has in held:
                has[GPUS] += gpus
                has[CPU] += cpu
                has[MEMORY] += memory

    def _settle_leaving(self, running: Running, pool: str) -> None:
        """Its queues have it for as long as it is there, yet no longer as their own."""
        self.has_leaving = True
        if running.is_moving:
            self.moving.append(running)
        amounts = self.amounts_of(running)
        for account in self.tree.accounts(running.ask.queue, pool):
            account.add(amounts, running.ask.is_preemptible)
            account.part(amounts, running.ask.is_preemptible)

    # -- what there is ------------------------------------------------------------------------------------

    def need(self, ask: AskClass) -> Need:
        """What is worked out of an ask only once."""
        known = self._needs.get(id(ask))
        if known is None:  # an ask has many fields, and its hash costs more than another need for its equal
            # With the ask, so that its id stays its own.
            known = self._needs[id(ask)] = ask, need_of(ask, self)
        return known[1]

    def nodes_in(self, pool: str) -> Sequence[NodeState]:  # in the order of their names
        return self._nodes_by_pool.get(pool, ())

    def candidates(self, need: Need, pool: str) -> Candidates:
        """The nodes of a pool on which an ask may be at all."""
        key = (need.fixed, pool)
        found = self._candidates.get(key)
        if found is None:
            found = self._candidates[key] = Candidates(need.ask, self.nodes_in(pool))
        return found

    def cells(self, need: Need, pool: str) -> Cells:
        """The same by the domains that its rules tell apart."""
        key = (need.fixed, pool, need.ask.topology)
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = Cells(need.ask.topology, self.candidates(need, pool))
        return found

    def hosts(self, ask: AskClass) -> frozenset[str]:
        """Names of the nodes on which it may be and that have the devices, whoever has them now."""
        need = self.need(ask)
        found = need.outline.hosts
        if found is None:
            there = (node for pool in need.pools for node in self.candidates(need, pool).nodes)
            found = need.outline.hosts = frozenset(n.node.name for n in there if could_hold(ask, n))
        return found

    def scorer(self, shape: Shape, pool: str) -> Scorer:
        found = self._scorers.get((shape, pool))
        if found is None:
            its = self.pools.get(pool) or Pool(pool)
            found = self._scorers[shape, pool] = Scorer(shape, its.gpu, its.cpu)
        return found

    def device_sizes(self, pool: str, product: str | None) -> frozenset[int]:
        """The memory, in MiB, of the usable devices of a product (None: any) in a pool."""
        found = self._device_sizes.get((pool, product))
        if found is None:
            gpus = (n.node.gpus[p] for n in self.nodes_in(pool) for p in n.usable)
            found = frozenset(g.memory_mib for g in gpus if product in (None, g.product))
            self._device_sizes[pool, product] = found
        return found

    def free_later(self, mig_profile: str = "") -> float:
        """Portions of usable devices, of all nodes together, that are free once all have gone that leave."""
        known = self._free_later.get(mig_profile)
        if known is None or known[0] != len(self.changes):
            free = 0.0
            for n in self.nodes:
                later = n.later
                for p in n.slices.get(mig_profile, ()) if mig_profile else n.usable:
                    free += later[p]
            known = self._free_later[mig_profile] = len(self.changes), free
        return known[1]

    def capacity(self, pool: str) -> Triple:
        """GPUs, cores and MiB of the nodes of a pool that are ready, with what is taken."""
        return capacity(self.nodes_in(pool))

    def amounts_per_pool(self, ask: AskClass) -> Mapping[str, Triple]:
        """`amounts` in each pool in which it may be placed."""
        return self.need(ask).per_pool

    def department(self, queue_id: str) -> str | None:
        """The queue above it; None for a department, and for a queue that nobody knows."""
        return self.tree.parent(queue_id)

    def pool_of(self, node: str) -> str | None:
        """The node pool of a node, by its name; None where there is no such node."""
        found = self.by_name.get(node)
        return None if found is None else found.pool

    def pools_of(self, ask: AskClass) -> tuple[str, ...]:
        """The node pools in which it may be placed, in the order of trying, without empty ones."""
        return self.need(ask).pools

    def running_in(self, queue_id: str) -> list[Running]:
        """What runs in a project and is neither leaving nor released; in the snapshot's order."""
        return self._staying.in_queue(queue_id)

    def running_on(self, node: str) -> list[Running]:
        """The same on a node, by its name."""
        return self._staying.on_node(node)

    def members(self, workload: str) -> list[Running]:
        """The same of a workload."""
        return self._staying.of_workload(workload)

    @property
    def running(self) -> list[Running]:
        """All of it."""
        return self._staying.all

    def waiting_in(self, queue_id: str) -> Sequence[tuple[AskClass, tuple[str, ...]]]:
        """The classes of a project of which somebody waited at the start, in the snapshot's order."""
        return self._waiting.get(queue_id, ())

    @cached_property
    def _waiting(self) -> Mapping[str, Sequence[tuple[AskClass, tuple[str, ...]]]]:
        waiting: dict[str, list[tuple[AskClass, tuple[str, ...]]]] = {}
        for ask, ids in self.snapshot.pending.items():
            if ids:
                waiting.setdefault(ask.queue, []).append((ask, ids))
        return waiting

    def amounts(self, ask: AskClass, pool: str) -> Amounts:
        """
        What all its members together count for in one pool.

        GPU memory counts as its part of the pool's smallest device of that product, a MIG instance of
        `g` slices as g/7 of a device.
        """
        return Amounts(*self.need(ask).amounts(pool))

    def amounts_of(self, running: Running) -> tuple[float, float, float]:
        """GPUs, cores and MiB that one running member counts for."""
        return placed_amounts(running.ask, running.placement)

    def share(self, queue_id: str, pool: str) -> Share:
        """
        Of a project or a department. `fair` and `requested` are as at the start of the cycle; `allocated`
        is live: with what was taken or promised since, without what leaves or was released.
        """
        return self.account(queue_id, pool).share()

    def account(self, queue_id: str, pool: str) -> Account:
        """What `share` is made of, for those who only compare; to be read, not written."""
        return self.tree.account(queue_id, pool)

    def shares(self) -> tuple[Share, ...]:
        """In all pools of the queues that have or want something, departments first, each by its age."""
        return tuple(self.share(q, p) for p in self.pool_names for q in self.tree.ids)

    def quota_refusal(self, ask: AskClass, pool: str, *, with_leaving: bool = False) -> Unplaced | None:
        """
        Why its queues (the project, then the department) do not let it start in a pool: the limit binds
        everybody (`OVER_LIMIT`), what is deserved binds what cannot be preempted (`OVER_QUOTA`).

        Args:
            with_leaving: as it will be once those have gone that leave. Without it they still count.
        """
        return self.need(ask).quota_refusal(pool, with_leaving)

    # -- trying it out ------------------------------------------------------------------------------------

    def place(self, ask: AskClass, *, with_leaving: bool = False) -> tuple[Placement, ...] | Unplaced:
        """
        Places for all its members, or why there are none; takes nothing. Its queues are asked, too, and its
        pools in order: all members come into one pool.

        Args:
            with_leaving: on what will be free, and under the quotas as they will be.
        """
        mark = self.mark()
        found = find(self, self.need(ask), with_leaving)
        self.undo(mark)
        return found

    def place_later(self, ask: AskClass) -> tuple[Placement, ...] | None:
        """`place` with what leaves, without a word about why not, which makes it far cheaper."""
        mark = self.mark()
        found = find_silently(self, self.need(ask), True)
        self.undo(mark)
        return found

    def allocate(self, need: Need) -> tuple[Placement, ...] | Unplaced:
        """`place` and `take` in one, for half of the price."""
        mark = len(self._log)
        found = find(self, need, False)
        if isinstance(found, Unplaced):
            self.undo(mark)
        elif self.tree.queues:
            self._account(need.ask, found, need)
        self._forget()
        return found

    def promise(self, need: Need) -> tuple[Placement, ...] | None:
        """`place_later` and `take` in one: it is promised."""
        found = find_silently(self, need, True)
        if found is not None and self.tree.queues:
            self._account(need.ask, found, need)
        self._forget()
        return found

    def _forget(self) -> None:
        if self._log and not self._is_marked:
            self._log.clear()

    def take(self, ask: AskClass, placements: Sequence[Placement], *, promised: bool = False) -> None:
        """
        Counts placements for their queues and on their nodes. As many as there are: of an ask with more
        members one alone can be taken.

        Args:
            promised: once what leaves has gone; now they are kept for it.
        """
        for placement in placements:
            node = self.by_name[placement.node]
            positions = node.positions(placement.gpu_uuids)
            self.put(node, ask, positions, placement.gpu_portion, promised=promised)
        if self.tree.queues and placements:
            self._account(ask, placements)

    def release(self, running: Running) -> None:
        """It is told to end: its place is free later, and its queues no longer count it. Once for each."""
        self._released.add(running.id)
        self._log.append((_RUNNING, running.id))
        self.has_leaving = True
        self.dead.clear()
        node = self.by_name.get(running.placement.node)
        if node is None:
            return
        self._log.append((_NODE, node, node.saved(running.ask.spread)))
        node.give_back(running.ask, running.placement)
        self.changes.append(node.order)
        amounts = self.amounts_of(running)
        for account in self.tree.accounts(running.ask.queue, node.pool):
            self._log.append((_ACCOUNT, account, account.saved()))
            account.part(amounts, running.ask.is_preemptible)

    def mark(self) -> int:
        """A point to come back to."""
        self._is_marked = True
        return len(self._log)

    @property
    def position(self) -> int:
        """A mark for those who come back before anybody else has a turn."""
        return len(self._log)

    def rollback(self, mark: int) -> None:
        """Everything as it was at the mark. Marks made after it are void."""
        if len(self._log) > mark:
            self.dead.clear()  # what was refused since then may fit again
        self.undo(mark)

    def undo(self, mark: int) -> None:
        """`rollback` of what was tried for a single ask: what was refused before stays refused."""
        log = self._log
        while len(log) > mark:
            kind, *rest = log.pop()
            if kind == _NODE:
                node, saved = rest
                assert isinstance(node, NodeState)
                node.restore(saved)
                self.changes.append(node.order)
            elif kind == _ACCOUNT:
                account, saved = rest
                assert isinstance(account, Account)
                account.restore(saved)
            else:
                self._released.discard(str(rest[0]))

    # -- for place.py -------------------------------------------------------------------------------------

    def put(
        self, node: NodeState, ask: AskClass, positions: Sequence[int], portion: float, *,
        promised: bool, is_final: bool = False,
    ) -> None:  # fmt: skip
        """
        One member on one node, without its queues.

        Args:
            is_final: nobody will take it back, unless there is a mark.
        """
        if self._is_marked or not is_final:
            self._log.append((_NODE, node, node.saved(ask.spread)))
        node.take(ask, positions, portion, promised)
        self.changes.append(node.order)

    def unput(self, ask: AskClass, placement: Placement) -> None:
        """Takes a promise back that no queue counts."""
        node = self.by_name[placement.node]
        self._log.append((_NODE, node, node.saved(ask.spread)))
        node.give_back(ask, placement)
        self.changes.append(node.order)
        self.dead.clear()

    def _account(self, ask: AskClass, placements: Sequence[Placement], need: Need | None = None) -> None:
        pool = self.by_name[placements[0].node].pool
        if need is not None and ask.gpu_memory_mib is None:
            amounts, accounts = need.amounts(pool), need.accounts(pool)
        else:
            each = [placed_amounts(ask, p) for p in placements]
            amounts = tuple(sum(a[r] for a in each) for r in RESOURCES)
            accounts = self.tree.accounts(ask.queue, pool)
        for account in accounts:
            if self._is_marked:
                self._log.append((_ACCOUNT, account, account.saved()))
            account.add(amounts, ask.is_preemptible)
