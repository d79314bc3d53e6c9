"""Ids as Run:ai has them: UUIDs, made from Homeport's own ids, so that nobody has to keep them."""

import uuid

from ...domain.workload import Workload
from ...services.context import Services
from ...store.found import Found

KEY = "runai"  # under which a spec's extras are this dialect's


def is_ours(workload: Workload) -> bool:
    """Made through this dialect."""
    return KEY in workload.spec.extras


NAMESPACE = uuid.UUID("6b1f4a0e-5d0c-5f43-9c1b-1d6f2a7c9e35")


MOST_REVISIONS = 2**16  # numbers that are told apart


def of_workload(workload_id: str) -> str:
    return str(uuid.uuid5(NAMESPACE, workload_id))


def of_pod(replica_id: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"pod/{replica_id}"))


def of_event(seq: int) -> str:
    return str(uuid.uuid5(NAMESPACE, f"event/{seq}"))


def of_revision(workload_id: str, number: int) -> str:
    """By which its workload can be found: they differ in their last digits only."""
    return str(uuid.UUID(int=uuid.UUID(of_workload(workload_id)).int ^ number % MOST_REVISIONS))


def of_word(kind: str, name: str) -> str:
    """Of what there is one of each name: a category, a priority, a type of workloads."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{name}"))


class WorkloadIds:
    """Which row a UUID is of. Rows that were added since the last question are looked at, and no others."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._last = 0

    def find(self, services: Services, wanted: str) -> Found | None:
        try:
            key = uuid.UUID(wanted)
        except ValueError:
            return None
        self._look(services)
        return self._of(services, key)

    def find_of_revision(self, services: Services, wanted: str) -> tuple[Found, int] | None:
        """With the revision's number, which the workload need not have."""
        try:
            key = uuid.UUID(wanted)
        except ValueError:
            return None
        self._look(services)
        near = ((uuid.UUID(int=key.int ^ n), n) for n in range(MOST_REVISIONS) if key.int ^ n in self._rows)
        return next(((found, n) for one, n in near if (found := self._of(services, one))), None)

    def _look(self, services: Services) -> None:
        reads = services.store.reads
        if self._last > reads.last_seq():  # rows were taken away, and their numbers may come again
            self._rows, self._last = {}, 0
        for seq, workload_id in reads.ids_after(self._last):
            self._rows[uuid.uuid5(NAMESPACE, workload_id).int] = seq
            self._last = seq

    def _of(self, services: Services, key: uuid.UUID) -> Found | None:
        seq = self._rows.get(key.int)
        found = None if seq is None else services.store.reads.by_seq(seq)
        return found if found is not None and of_workload(found.id) == str(key) else None


def find(services: Services, wanted: str) -> Found | None:
    """The workload of that UUID, whatever its project, the deleted too."""
    return _known(services).find(services, wanted)


def find_of_revision(services: Services, wanted: str) -> tuple[Found, int] | None:
    """The workload that a revision of that UUID would be of, and the number it would have."""
    return _known(services).find_of_revision(services, wanted)


def _known(services: Services) -> WorkloadIds:
    known = services.memo.setdefault(WorkloadIds, WorkloadIds())
    assert isinstance(known, WorkloadIds)
    return known
