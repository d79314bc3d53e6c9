"""Which replica gets a request."""

import hashlib
import random
from collections.abc import Collection, Sequence
from typing import Generic, Protocol, TypeVar

from ..routing import Balancing

# Prime, and large beside any number of replicas that one machine runs.
TABLE_SIZE = 1021


class Candidate(Protocol):
    """`open` is how many of its requests are not answered; it is passed over until `resting_until`."""

    @property
    def id(self) -> str: ...
    @property
    def open(self) -> int: ...
    @property
    def resting_until(self) -> float: ...


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def maglev_table(ids: Sequence[str], size: int = TABLE_SIZE) -> tuple[int, ...]:
    """
    For each slot the index of its replica; few slots change with the set of replicas.

    Source: Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load
    Balancer", NSDI 2016, section 3.4.
    """
    if not ids:
        return ()
    steps = [(_hash(f"offset {i}") % size, _hash(f"skip {i}") % (size - 1) + 1) for i in ids]
    tried = [0] * len(ids)
    table = [-1] * size
    filled = 0
    while True:
        for index, (offset, skip) in enumerate(steps):
            slot = (offset + tried[index] * skip) % size
            while table[slot] >= 0:
                tried[index] += 1
                slot = (offset + tried[index] * skip) % size
            table[slot] = index
            tried[index] += 1
            filled += 1
            if filled == size:
                return tuple(table)


C = TypeVar("C", bound=Candidate)


class Balancer(Generic[C]):
    """
    Args:
        choice_count: for least_request, how many are drawn; None compares all of them.
        draw: source of chance for `choice_count`.
    """

    def __init__(
        self,
        replicas: Sequence[C],
        policy: Balancing = Balancing.LEAST_REQUEST,
        choice_count: int | None = None,
        draw: random.Random | None = None,
    ) -> None:
        self._replicas, self._policy, self._choice_count = replicas, policy, choice_count
        self._draw = draw or random.Random()
        self._turn = 0
        self._table: tuple[int, ...] | None = None

    def pick(self, now_s: float, client: str, tried: Collection[str] = ()) -> C | None:
        """None where every replica was tried. One that is resting is taken only if no other is left."""
        fresh = [r for r in self._replicas if r.id not in tried] if tried else self._replicas
        if len(fresh) == 1:
            return fresh[0]
        usable = [r for r in fresh if r.resting_until <= now_s] or fresh
        if not usable:
            return None
        match self._policy:
            case Balancing.MAGLEV:
                return self._by_hash(client, usable)
            case Balancing.ROUND_ROBIN:
                self._turn += 1
                return usable[self._turn % len(usable)]
            case Balancing.LEAST_REQUEST:
                if self._choice_count is not None and self._choice_count < len(usable):
                    usable = self._draw.sample(usable, self._choice_count)
                return self._least(usable)

    def _least(self, usable: Sequence[C]) -> C:
        """Equal ones take turns, since the search begins behind the last choice."""
        count = len(usable)
        first = chosen = (self._turn + 1) % count
        for index in range(first, first + count):
            if usable[chosen].open == 0:
                break
            if usable[index % count].open < usable[chosen].open:
                chosen = index % count
        self._turn = chosen
        return usable[chosen]

    def _by_hash(self, client: str, usable: Sequence[C]) -> C:
        if self._table is None:
            self._table = maglev_table([r.id for r in self._replicas])
        slot = _hash(client) % len(self._table)
        chosen = self._replicas[self._table[slot]]
        while chosen not in usable:
            slot = (slot + 1) % len(self._table)
            chosen = self._replicas[self._table[slot]]
        return chosen
