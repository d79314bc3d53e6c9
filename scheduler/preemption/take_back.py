"""
Whoever names a reservation gets its nodes back from those who are there and do not name it.

Two kinds are there: what bursts (it names another reservation, and took what was idle of this one), and what
ran before the reservation began. The first has agreed to go, so it goes even where it cannot be preempted in
its queue's sense; of the second goes only what can be preempted. Source: the help of lep 0.47.1,
`--allow-burst-to-other-reservation`: "Be aware that when a new workload bound to those reservations starts,
your job may be evicted". Neither fair shares nor priorities have a part in it: the nodes are its own.
"""

from collections.abc import Sequence
from dataclasses import replace

from ..model import AskClass, Running
from ..state import State
from .steps import Choice, Step, may_ever_go


def at_home(ask: AskClass) -> AskClass:
    """The same ask where it may only be on the nodes of its own reservation."""
    return replace(ask, may_burst=False) if ask.may_burst else ask


def has_agreed_to_go(ask: AskClass) -> bool:
    return ask.may_burst and bool(ask.reservation)


def may_be_taken_for(reservation: str, running: Running) -> bool:
    """
    Whether it may go when somebody comes for the nodes of that reservation.

    A guaranteed runtime holds here too: it is what the node pool promises to all who start there, and the
    owner of the reservation waits no longer than for that.
    """
    if running.ask.reservation == reservation:
        return False
    agreed = has_agreed_to_go(running.ask) and not (running.is_protected or running.is_leaving)
    return agreed or may_ever_go(running)


def in_force(state: State) -> frozenset[str]:
    """The reservations of which there are nodes now."""
    return frozenset(n.node.reservation for n in state.nodes if n.node.reservation)


def sparing_owners(state: State, ask: AskClass, choice: Choice) -> Choice:
    """
    What may go so that an ask bursts: bursting is for what its owners leave idle, so nobody on a node of
    their own reservation goes for it. They would only come and take it back.
    """
    if not has_agreed_to_go(ask):
        return choice
    return Choice([s for s in choice.steps if not any(_is_owner(state, ask, m) for m in s.members)])


def of_its_nodes(state: State, ask: AskClass, choice: Choice) -> Choice:
    """
    What may go of the nodes of its reservation, for an ask that has the rest elsewhere: nobody goes there in
    its name, nor from a node of their own, which they would only take back.
    """
    spared = sparing_owners(state, ask, choice).steps
    return Choice([s for s in spared if _nodes(state, ask.reservation, s.members)])


def _is_owner(state: State, ask: AskClass, running: Running) -> bool:
    there = state.by_name.get(running.placement.node)
    kept = there.node.reservation if there else None
    return kept is not None and kept == running.ask.reservation != ask.reservation


def sentence(state: State, ask: AskClass, step: Step) -> str:
    """For all of one step; of the one that comes only its project is named."""
    nodes = _nodes(state, ask.reservation, step.members)
    kept = f"node {nodes[0]} is" if len(nodes) == 1 else f"nodes {', '.join(nodes)} are"
    who = f"project {ask.queue}" if ask.queue else "work that names it"
    text = f"evicted: {kept} reserved for {ask.reservation}, and {who} has come for {_it(nodes)}"
    if any(m.ask.is_preemptible for m in step.members):
        return text
    return f"{text}; what cannot be preempted has to go, too, where it bursts to another reservation"


def _nodes(state: State, reservation: str | None, members: Sequence[Running]) -> list[str]:
    names = sorted({m.placement.node for m in members})
    return [n for n in names if n in state.by_name and state.by_name[n].node.reservation == reservation]


def _it(nodes: Sequence[str]) -> str:
    return "it" if len(nodes) == 1 else "them"
