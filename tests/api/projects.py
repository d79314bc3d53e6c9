"""Projects with quotas, and workloads in them, made through the services as both dialects do."""

from collections.abc import Sequence
from typing import Any

from homeport.server.domain.org import Amount, PoolQuota, Project, Rules
from homeport.server.domain.workload import Attempt, Workload, WorkloadSpec
from homeport.server.services import org
from homeport.server.services.workloads import create_workload

from .home import Api

ME = "ada@example.org"
H100 = "NVIDIA H100 80GB HBM3"


class Shared:
    """A machine that several projects share, seen through its services."""

    def __init__(self, api: Api) -> None:
        self.api, self.at = api, api.at
        self.services, self.loop, self.clock = api.at.home.services, api.at.home.loop, api.at.clock
        self.store = self.services.store

    async def project(
        self, name: str, gpus: float, *, limit: float | None = None, weight: float | None = None,
        rules: Rules | None = None, **fields: Any,
    ) -> Project:  # fmt: skip
        (pool,) = [p for p in org.list_node_pools(self.services) if p.is_default]
        quota = PoolQuota(pool.id, gpu=Amount(gpus, limit, weight))
        draft = Project("", name, "", "", (quota,), rules=rules or Rules(), **fields)
        return await org.create_project(self.services, draft, by=ME)

    async def submit(self, project: str, name: str, gpus: int = 1, *, kind: str = "job", **spec: Any) -> str:
        """A workload's id."""
        members = spec.pop("members", 1)
        wanted = WorkloadSpec(
            "any:1", ("true",), "", 1, 512, gpu_count=gpus, completions=members, parallelism=members, **spec
        )
        made = await create_workload(
            self.services, workspace=project, name=name, kind=kind, owner=ME, spec=wanted
        )
        return made.id

    async def train(self, project: str, name: str, gpus: int = 1, **spec: Any) -> str:
        """As a training of Run:ai: preemptible, of low priority, and may preempt."""
        standing: dict[str, Any] = {"is_preemptible": True, "can_preempt": True, "priority": 40}
        return await self.submit(project, name, gpus, **(standing | spec))

    def workload(self, workload_id: str) -> Workload:
        (found,) = self.store.reads.by_ids([workload_id])
        return found.workload

    def phase(self, workload_id: str) -> str:
        (found,) = self.store.reads.by_ids([workload_id])
        return found.phase.value

    def attempts(self, workload_id: str) -> Sequence[Attempt]:
        return self.store.attempts_of(workload_id)

    def live(self, workload_id: str) -> list[Attempt]:
        return [a for a in self.attempts(workload_id) if a.is_live]

    def events(self, workload_id: str, reason: str) -> list[str]:
        return [e.message for e in self.store.events_of(workload_id) if e.reason == reason]

    async def becomes(self, workload_id: str, phase: str) -> None:
        await self.at.until(f"{workload_id} is {phase}", lambda: self.phase(workload_id) == phase)

    async def waits(self, workload_id: str, code: str) -> str:
        """Until it waits for that reason; the reason in words."""

        def told() -> str:
            why = self.loop.waiting(workload_id)
            return "; ".join(why.reasons) if why is not None and why.code.value == code else ""

        return await self.at.until(f"{workload_id} waits: {code}", told)

    async def evicted(self, workload_id: str, times: int = 1) -> None:
        def has_ended() -> bool:
            return sum(a.reason == "Evicted" for a in self.attempts(workload_id)) == times

        await self.at.until(f"{workload_id} was evicted", has_ended)

    def check(self) -> None:
        """Invariants that hold at any time: no device is promised beyond the whole of it."""
        taken: dict[str, float] = {}
        for attempt in self.store.reads.live_attempts():
            for uuid in attempt.gpu_uuids:
                taken[uuid] = taken.get(uuid, 0) + attempt.gpu_portion
        assert all(portion <= 1 + 1e-6 for portion in taken.values()), taken
