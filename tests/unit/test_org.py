"""Org units in the store: what a fresh one holds, what is refused, and what a removal takes with it."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from homeport.runtime.clock import VirtualClock
from homeport.server.domain.inventory import HostNode, NodeGpu
from homeport.server.domain.org import Amount, Department, NodePool, Org, PoolQuota, Project, Rank
from homeport.server.domain.pools import POOL_LABEL, in_pools, pool_of
from homeport.server.domain.volumes import HostFolders
from homeport.server.domain.workload import Attempt, AttemptState, Workload, WorkloadSpec
from homeport.server.errors import Conflict, HomeportError, Invalid, NotFound
from homeport.server.services import access, node_notes, org, quotas, tokens
from homeport.server.services.access import Caller
from homeport.server.services.context import Services
from homeport.server.services.workloads import create_workload
from homeport.server.store.secret_box import SecretBox
from homeport.server.store.store import Store
from homeport.server.store.writes import save_attempt, save_workload

BY = "ada@example.org"
ADMIN = Caller("local", access.ADMIN, "")


def host(name: str, gpus: int = 4, **labels: str) -> HostNode:
    devices = tuple(NodeGpu(f"{name}-{i}", "H100", 81920, True) for i in range(gpus))
    return HostNode(name, "default", 8, 65536, devices, labels=tuple(labels.items()))


@pytest.fixture
def services(tmp_path: Path) -> Generator[Services]:
    store = Store(tmp_path)
    nodes = (host("one"), host("two", speed="fast"))
    made = Services(
        store, VirtualClock(), nodes, lambda: None, HostFolders(tmp_path, ()), SecretBox(tmp_path, None)
    )
    asyncio.run(org.ensure_defaults(made))
    yield made
    store.close()


def draft(name: str, **more: object) -> Project:
    return replace(Project("", name, "", ""), **more)  # pyright: ignore[reportArgumentType]


def shown_gpus(unit: Project | Department) -> dict[str, float | None]:
    return {q.pool: q.gpu.deserved for q in unit.quotas}


def refused(work: Awaitable[object], kind: type[HomeportError], words: str) -> None:
    async def run() -> None:
        await work

    with pytest.raises(kind, match=words):
        asyncio.run(run())


def run_in(services: Services, workspace: str, *, is_over: bool) -> None:
    """One workload of that workspace that runs, or has ended."""
    spec = WorkloadSpec("any:1", ("true",), "cpu.small", 1, 4096)
    workload = Workload("job-abcd", workspace, "job", "job", BY, 0, spec)
    attempt = Attempt("job-abcd-0", 1, "job-abcd", 0, "one", 1, 4096, 1)
    if is_over:
        attempt = replace(attempt, state=AttemptState.ENDED, exit_code=0, started_at_ms=1, finished_at_ms=2)

    def save(session: Session) -> None:
        save_workload(session, workload)
        save_attempt(session, attempt)

    asyncio.run(services.store.write(save))


def test_fresh_store_gives_one_project_the_whole_machine(services: Services) -> None:
    found = org.get_org(services)
    (department,), (project,), (pool,) = found.departments, found.projects, found.pools
    assert (department.name, project.name, pool.name) == ("default", "local", "default")
    assert project.department_id == department.id
    assert pool.is_default
    assert project.namespace == "runai-local"
    assert shown_gpus(project) == shown_gpus(department) == {pool.id: 8.0}
    assert project.quotas[0].gpu.limit is None
    assert project.quotas[0].cpu.deserved is None


def test_same_org_and_cluster_are_there_when_the_store_opens_again(services: Services) -> None:
    before, cluster = org.get_org(services), org.get_cluster_id(services)
    asyncio.run(org.ensure_defaults(services))
    assert org.get_org(services) is before  # nothing was decoded anew either
    assert org.get_cluster_id(services) == cluster
    assert len(cluster) == 36


def test_quota_of_the_first_project_follows_the_machine_while_nobody_sets_it(services: Services) -> None:
    larger = replace(services, nodes=(host("one", gpus=16),))
    (pool,) = org.list_node_pools(larger)
    assert shown_gpus(org.find_project(larger, "local")) == {pool.id: 16.0}
    quota = PoolQuota(pool.id, Amount(3.0))
    asyncio.run(quotas.set_quotas(larger, org.find_project(larger, "local"), [quota], merge=True, by=BY))
    assert shown_gpus(org.find_project(services, "local")) == {pool.id: 3.0}
    assert shown_gpus(org.find_department(services, "default")) == {pool.id: 8.0}
    assert not org.follows_machine(services, org.find_project(services, "local"))


def test_ids_grow_and_are_not_given_again_after_a_removal(services: Services) -> None:
    first = asyncio.run(org.create_project(services, draft("one"), by=BY))
    asyncio.run(org.delete_project(services, first.id))
    second = asyncio.run(org.create_project(services, draft("two"), by=BY))
    assert int(second.id) > int(first.id)
    with pytest.raises(NotFound):
        org.get_project(services, first.id)


def test_nodes_are_in_the_pool_whose_label_they_bear_and_else_in_the_default(services: Services) -> None:
    made = asyncio.run(org.create_node_pool(services, NodePool("", "quick", "speed", "fast"), by=BY))
    pooled = in_pools(services.nodes, org.get_org(services).pools)
    assert {node.id: node.node_group for node in pooled} == {"one": "default", "two": "quick"}
    assert {n.id: n.node_group for n in org.nodes_now(services)} == {"one": "default", "two": "quick"}
    refused(org.delete_node_pool(services, made.id), Conflict, "has the nodes two; take speed=fast from them")
    asyncio.run(node_notes.note_node(services, "one", labels={"speed": "fast"}))
    assert {n.node_group for n in org.nodes_now(services)} == {"quick"}
    asyncio.run(node_notes.note_node(services, "one", labels={"speed": None}))
    assert org.nodes_now(services)[0] == services.nodes[0]


def test_taint_that_people_gave_goes_over_the_nodes_own(services: Services) -> None:
    given = {("team", "NoSchedule"): "a"}
    node = asyncio.run(node_notes.note_node(services, "one", taints=given))
    assert node.taints == (("team", "a", "NoSchedule"),)
    refused(
        node_notes.note_node(services, "one", taints={("team", "Never"): "a"}), Invalid, "'Never' is none of"
    )
    refused(node_notes.note_node(services, "three", labels={"a": "b"}), NotFound, "there is one, two")


def test_time_of_a_taint_stays_as_long_as_the_taint_is_the_same(services: Services) -> None:
    clock = services.clock
    assert isinstance(clock, VirtualClock)

    def given(value: str) -> int:
        taints = {("team", "NoExecute"): value}
        node = asyncio.run(node_notes.note_node(services, "one", taints=taints))
        ((key, effect, at_ms),) = node.tainted_at_ms
        assert (key, effect) == ("team", "NoExecute")
        return at_ms

    first = given("a")
    assert first == clock.now_ms()
    clock.advance(5)
    asyncio.run(node_notes.note_node(services, "one", labels={"speed": "fast"}))
    assert given("a") == first
    assert given("b") == first + 5000


def test_taint_is_taken_from_a_node_only_where_it_was_given(services: Services) -> None:
    def untaint(node: str, key: str) -> Coroutine[Any, Any, HostNode]:
        return node_notes.note_node(services, node, taints={(key, "NoSchedule"): None})

    own = replace(services.nodes[0], taints=(("rack", "4", "NoSchedule"),))
    services = replace(services, nodes=(own, services.nodes[1]), memo={})
    given = {("team", "NoSchedule"): "a", ("rack", "NoSchedule"): "5"}
    node = asyncio.run(node_notes.note_node(services, "one", taints=given))
    assert node.taints == (("rack", "5", "NoSchedule"), ("team", "a", "NoSchedule"))
    asyncio.run(untaint("one", "team"))
    refused(untaint("one", "team"), Conflict, "node one has no taint team:NoSchedule to take away")
    asyncio.run(untaint("one", "rack"))
    assert org.nodes_now(services)[0].taints == own.taints
    refused(untaint("one", "rack"), Conflict, "was declared with the taint rack:NoSchedule")


def test_pool_that_goes_takes_its_quotas_with_it(services: Services) -> None:
    pool = asyncio.run(org.create_node_pool(services, NodePool("", "spare", "spare", "yes"), by=BY))
    wanted = draft("team", quotas=(PoolQuota(pool.id, Amount(2.0)),), default_pools=("spare", "default"))
    project = asyncio.run(org.create_project(services, wanted, by=BY))
    asyncio.run(org.delete_node_pool(services, pool.id))
    left = org.get_project(services, project.id)
    assert (left.quotas, left.default_pools) == ((), ("default",))


def test_quotas_of_other_pools_stay_only_when_they_are_merged(services: Services) -> None:
    pool = asyncio.run(org.create_node_pool(services, NodePool("", "spare", "spare", "yes"), by=BY))
    (default, _) = org.list_node_pools(services)
    project = asyncio.run(org.create_project(services, draft("team"), by=BY))
    for quota, merge, expected in (
        (PoolQuota(default.id, Amount(1.0)), True, {default.id: 1.0}),
        (PoolQuota(pool.id, Amount(2.0), rank=Rank.HIGH), True, {default.id: 1.0, pool.id: 2.0}),
        (PoolQuota(pool.id, Amount(5.0)), False, {pool.id: 5.0}),
    ):
        project = org.get_project(services, project.id)
        asyncio.run(quotas.set_quotas(services, project, [quota], merge=merge, by=BY))
        assert shown_gpus(org.get_project(services, project.id)) == expected


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        (PoolQuota("99"), r"resources\[0\].nodePool.id: no node pool has the id '99'"),
        (PoolQuota("1", Amount(-1.0)), r"resources\[0\].gpu.deserved: -1.0 is not 0 to"),
        (PoolQuota("1", memory=Amount(limit=math.nan)), r"resources\[0\].memory.limit: nan is not 0 to"),
        (PoolQuota("1", cpu=Amount(weight=math.inf)), r"resources\[0\].cpu.overQuotaWeight: inf is not"),
    ],
    ids=["unknown pool", "below zero", "not a number", "infinite"],
)
def test_quota_is_refused_by_its_field_when_it_cannot_be(
    services: Services, quota: PoolQuota, words: str
) -> None:
    refused(org.create_project(services, draft("team", quotas=(quota,)), by=BY), Invalid, words)
    assert [p.name for p in org.list_projects(services)] == ["local"]


@pytest.mark.parametrize("name", ["", "Team", "-a", "a" * 64, "a/b", "a.b", "a\n"])
def test_project_is_refused_when_its_name_fits_no_path(services: Services, name: str) -> None:
    refused(org.create_project(services, draft(name), by=BY), Invalid, "name: ")


def refusals(services: Services) -> list[tuple[Callable[[], Awaitable[object]], type[HomeportError], str]]:
    department = org.find_department(services, "default")
    local, pool = org.find_project(services, "local"), org.list_node_pools(services)[0]
    return [
        (lambda: org.create_project(services, draft("local"), by=BY), Conflict, "there is a project named"),
        (
            lambda: org.create_project(services, draft("a", department_id="77"), by=BY),
            Invalid,
            "parentId: no department has the id '77'",
        ),
        (
            lambda: org.create_project(services, draft("a", default_pools=("none",)), by=BY),
            Invalid,
            "defaultNodePools: no node pool named 'none'; there is default",
        ),
        (lambda: org.delete_department(services, department.id), Conflict, "it stays"),
        (lambda: org.delete_project(services, local.id), Conflict, "it stays"),
        (lambda: org.delete_node_pool(services, pool.id), Conflict, "has every node that no other has"),
        (lambda: org.delete_project(services, "77"), NotFound, "no project named '77'"),
        (
            lambda: org.update_project(services, local.id, lambda p: replace(p, name="other"), by=BY),
            Invalid,
            "keeps its name, which is 'local'",
        ),
        (
            lambda: org.create_node_pool(services, NodePool("", "a", "no key", "v"), by=BY),
            Invalid,
            "labelKey: 'no key' is no label's name",
        ),
    ]


def test_what_cannot_be_is_refused_with_its_remedy(services: Services) -> None:
    for work, kind, words in refusals(services):
        refused(work(), kind, words)


def test_department_stays_while_it_has_projects(services: Services) -> None:
    department = asyncio.run(org.create_department(services, Department("", "Research A"), by=BY))
    project = asyncio.run(org.create_project(services, draft("team", department_id=department.id), by=BY))
    refused(org.delete_department(services, department.id), Conflict, "has the projects team; delete them")
    asyncio.run(org.delete_project(services, project.id))
    asyncio.run(org.delete_department(services, department.id))
    assert [d.name for d in org.list_departments(services)] == ["default"]


def test_two_pools_cannot_have_one_label(services: Services) -> None:
    asyncio.run(org.create_node_pool(services, NodePool("", "a", "k", "v"), by=BY))
    again = NodePool("", "b", "k", "v")
    refused(org.create_node_pool(services, again, by=BY), Conflict, "the label k=v is that of node pool a")


def test_change_is_stamped_and_leaves_name_id_and_quotas(services: Services) -> None:
    clock = services.clock
    assert isinstance(clock, VirtualClock)
    made = asyncio.run(org.create_project(services, draft("team"), by=BY))
    clock.advance(5)
    told = replace(made, description="for ads", id="99", quotas=(PoolQuota("1"),))
    after = asyncio.run(org.update_project(services, made.id, lambda _: told, by="bob"))
    assert (after.id, after.description, after.quotas) == (made.id, "for ads", ())
    assert (after.stamp.created_by, after.stamp.updated_by) == (BY, "bob")
    assert after.stamp.updated_at_ms == made.stamp.created_at_ms + 5000


def test_change_with_a_quota_that_cannot_be_leaves_nothing(services: Services) -> None:
    made = asyncio.run(org.create_project(services, draft("team"), by=BY))
    (above,) = org.list_departments(services)
    none = (PoolQuota("99"),)
    for work in (
        org.update_project(services, made.id, lambda p: replace(p, description="new"), by="bob", quotas=none),
        org.update_department(
            services, above.id, lambda d: replace(d, extras={"a": 1}), by="bob", quotas=none
        ),
    ):
        refused(work, Invalid, "no node pool has the id '99'")
    assert org.get_project(services, made.id) == made
    assert org.get_department(services, above.id) == above
    assert org.follows_machine(services, above)


def test_quotas_that_come_with_a_change_no_longer_follow_the_machine(services: Services) -> None:
    local = org.find_project(services, "local")
    two = (PoolQuota("1", gpu=Amount(2)),)
    after = asyncio.run(org.update_project(services, local.id, lambda p: p, by="bob", quotas=two))
    assert (after.quotas, org.follows_machine(services, after)) == (two, False)


def test_project_stays_while_something_runs_in_it(services: Services) -> None:
    made = asyncio.run(org.create_project(services, draft("team"), by=BY))
    run_in(services, "team", is_over=False)
    refused(org.delete_project(services, made.id), Conflict, r"1 workload\(s\) \(job-abcd\); delete them")
    assert org.get_project(services, made.id)


def test_removed_project_leaves_nothing_that_a_later_one_of_its_name_sees(services: Services) -> None:
    made = asyncio.run(org.create_project(services, draft("team"), by=BY))
    run_in(services, "team", is_over=True)
    token = asyncio.run(tokens.create_token(services, ADMIN, BY, tokens.LONGEST, "team"))
    caller = access.authorize(services.store, services.clock, token, "team")
    assert (caller.workspace, caller.owner, caller.runs_server) == ("team", BY, False)
    asyncio.run(org.delete_project(services, made.id))
    assert access.get_caller(services.store, services.clock, token) is None
    asyncio.run(org.create_project(services, draft("team"), by=BY))
    assert services.store.reads.get("team", "job-abcd") is None
    kept = services.store.reads.get(f"team#{made.id}", "job-abcd")
    assert kept is not None
    assert kept.workload.workspace == f"team#{made.id}"


def test_workload_is_refused_when_its_project_went_while_it_was_made(services: Services) -> None:
    made = asyncio.run(org.create_project(services, draft("team"), by=BY))
    asyncio.run(org.delete_project(services, made.id))
    spec = WorkloadSpec("any:1", ("true",), "cpu.small", 1, 4096)
    late = create_workload(services, workspace="team", name="late", kind="job", owner=BY, spec=spec)
    refused(late, NotFound, "no workspace named 'team'")
    assert services.store.reads.active(0) == []


def test_namespace_is_of_one_project_and_no_longer_than_one_may_be(services: Services) -> None:
    asyncio.run(org.create_project(services, draft("one", namespace="shared"), by=BY))
    again = draft("two", namespace="shared")
    refused(org.create_project(services, again, by=BY), Conflict, "is that of project one")
    refused(
        org.create_project(services, draft("x", namespace="runai-local"), by=BY), Conflict, "project local"
    )
    refused(org.create_project(services, draft("p" * 58), by=BY), Invalid, "too long; choose a shorter name")
    asyncio.run(org.create_project(services, draft("p" * 57), by=BY))
    asyncio.run(org.create_project(services, draft("q" * 63, namespace="q"), by=BY))
    assert org.find_project(services, "q" * 63).namespace == "q"


def test_project_inherits_what_it_has_not_itself() -> None:
    above = Department("2", "ads", default_pools=("fast",), training_nodes=("dgx",), workspace_nodes=("cpu",))
    own = Project("3", "own", "2", "runai-own", default_pools=("slow",), workspace_nodes=("gpu",))
    other = Project("4", "other", "9", "runai-other")
    found = Org.of((above,), (own, other), ())
    assert found.projects == (own, other)
    assert found.in_effect == (replace(own, training_nodes=("dgx",)), other)
    assert found.in_effect[1] is other


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param((), "declared", id="where-it-was-declared"),
        pytest.param(((POOL_LABEL, "default"),), "default", id="where-its-label-says"),
        pytest.param(((POOL_LABEL, "gone"),), "default", id="a-pool-that-there-is-not"),
        pytest.param(
            ((POOL_LABEL, "declared"), ("speed", "fast")), "fast", id="a-pools-own-label-goes-first"
        ),
    ],
)
def test_node_is_in_the_pool(labels: tuple[tuple[str, str], ...], expected: str) -> None:
    pools = (
        NodePool("1", "default", is_default=True),
        NodePool("2", "declared"),
        NodePool("3", "fast", "speed", "fast"),
    )
    assert pool_of(HostNode("n", "declared", 1, 1, (), labels=labels), pools).name == expected
