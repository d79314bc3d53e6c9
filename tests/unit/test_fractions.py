"""Parts of devices: portions, memory, MIG instances. Source: KAI, docs/gpu-sharing; Run:ai, GPU fractions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.scheduler.model import (
    AskClass,
    Gpu,
    Node,
    Placement,
    Plan,
    Pool,
    Snapshot,
    Strategy,
    Unplaced,
)
from homeport.scheduler.plan import plan

HALF, GIB_80 = 0.5, 81920


def device(name: str, free: float = 1.0, **kw: object) -> Gpu:
    return Gpu(name, "H100", GIB_80, free, **kw)  # type: ignore[arg-type]


def node(name: str, *gpus: Gpu) -> Node:
    return Node(name, "default", 64, 65536, gpus)


def part(portion: float = 1.0, count: int = 1, **kw: object) -> AskClass:
    words = {"priority": 40, "cpu": 0.0, "memory_mib": 0} | kw
    return AskClass(gpu_count=count, gpu_portion=portion, **words)  # type: ignore[arg-type]


def planned(nodes: list[Node], *asks: AskClass, spread: bool = False) -> Plan:
    pending: dict[AskClass, tuple[str, ...]] = {}
    for number, wanted in enumerate(asks):
        pending[wanted] = (*pending.get(wanted, ()), f"j{number}")
    rank = {f"j{n}": n for n in range(len(asks))}
    pools = (Pool("default", Strategy.SPREAD if spread else Strategy.BINPACK),)
    return plan(Snapshot(tuple(nodes), pending, rank, pools=pools))


def where(answer: Plan) -> dict[str, tuple[str, ...]]:
    return {id_: places[0].gpu_uuids for id_, places in answer.placed.items()}


@pytest.mark.parametrize(
    ("gpus", "asks", "spread", "got"),
    [
        pytest.param(
            [device("a"), device("b")], [part(HALF), part(HALF), part(HALF)], False,
            {"j0": ("a",), "j1": ("a",), "j2": ("b",)}, id="two-halves-share-a-device",
        ),
        pytest.param(
            [device("a"), device("b", 0.6), device("c", 0.3)], [part(0.25)], False, {"j0": ("c",)},
            id="binpack-takes-the-fullest-that-fits",
        ),
        pytest.param(
            [device("a"), device("b", 0.6), device("c", 0.3)], [part(0.5)], False, {"j0": ("b",)},
            id="a-shared-device-before-a-new-one",
        ),
        pytest.param(
            [device("a", 0.9), device("b"), device("c", 0.3)], [part(0.25)], True, {"j0": ("b",)},
            id="spread-takes-the-emptiest",
        ),
        pytest.param(
            [device("a", 0.5), device("b", 0.5), device("c")], [part(HALF, 2)], False, {"j0": ("a", "b")},
            id="two-devices-by-half-are-two-different-devices",
        ),
        pytest.param(
            [device("a")], [part(HALF, 2)], False, {}, id="one-device-is-not-two-halves-of-two",
        ),
        pytest.param(
            [device("a", 0.75), device("b")], [part()], False, {"j0": ("b",)},
            id="a-whole-device-is-one-that-nobody-shares",
        ),
        pytest.param(
            [device("a", is_healthy=False), device("b")], [part(HALF), part()], False, {"j0": ("b",)},
            id="an-unhealthy-device-is-given-to-nobody",
        ),
        pytest.param(
            [device("a")], [part(gpu_memory_mib=m) for m in (40960, 40960, 1)], False,
            {"j0": ("a",), "j1": ("a",)}, id="memory-is-a-portion-of-the-device",
        ),
        pytest.param(
            [device("a")], [part(gpu_memory_mib=81921)], False, {}, id="no-device-has-so-much-memory",
        ),
        pytest.param(
            [device("a")], [part(0.1)] * 10, False, {f"j{n}": ("a",) for n in range(10)},
            id="ten-tenths-are-one-device",
        ),
        pytest.param(
            [device("a")], [part(1 / 3)] * 3, False, {f"j{n}": ("a",) for n in range(3)},
            id="three-thirds-are-one-device",
        ),
        pytest.param(
            [device("m1", mig_profile="1g.10gb"), device("m3", mig_profile="3g.40gb")],
            [part(mig_profile="3g.40gb"), part(), part(HALF), part(mig_profile="1g.10gb")], False,
            {"j0": ("m3",), "j3": ("m1",)}, id="instances-go-only-to-those-who-ask-for-their-profile",
        ),
    ],
)  # fmt: skip
def test_devices(
    gpus: list[Gpu], asks: list[AskClass], spread: bool, got: dict[str, tuple[str, ...]]
) -> None:
    assert where(planned([node("n", *gpus)], *asks, spread=spread)) == got


def test_the_portion_of_memory_is_told_when_it_is_placed() -> None:
    answer = planned([node("n", device("a"))], part(gpu_memory_mib=20480))
    assert answer.placed == {"j0": (Placement("n", ("a",), 0.25),)}


def test_a_node_with_a_shared_device_goes_before_an_idle_one_when_packing() -> None:
    nodes = [node("a", device("a0"), device("a1")), node("b", device("b0"), device("b1", 0.4))]
    assert where(planned(nodes, part(0.3))) == {"j0": ("b1",)}
    assert where(planned(nodes, part(0.3), spread=True)) == {"j0": ("a0",)}


def test_memory_fits_where_a_node_has_devices_of_two_sizes() -> None:
    small, large = Gpu("s", "A100", 40960), Gpu("x", "A100", 81920)
    assert where(planned([node("n", small, large)], part(gpu_memory_mib=50000))) == {"j0": ("x",)}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (part(0.8), "1 node(s): short of 1 GPU(s) with 0.8 free"),
        (part(gpu_memory_mib=70000), "1 node(s): short of 1 GPU(s) with 70000 MiB free"),
        (part(count=2), "1 node(s): short of 2 free GPU(s) (1 of its GPU(s) unhealthy)"),
        (part(mig_profile="1g.10gb", count=2), "1 node(s): short of 2 free MIG instance(s) 1g.10gb"),
    ],
)
def test_the_reason_names_what_is_short(wanted: AskClass, reason: str) -> None:
    gpus = [device("a", 0.5)] + ([device("b", is_healthy=False)] if wanted.gpu_count == 2 else [])
    answer = planned([node("n", *(gpus if not wanted.mig_profile else gpus[:1]))], wanted)
    assert answer.unplaced == {"j0": Unplaced((reason,))}


PORTIONS = st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.75, 1.0])
PARTS = st.one_of(
    st.builds(part, PORTIONS, st.integers(1, 3), members=st.integers(1, 2)),
    st.builds(part, st.just(1.0), st.integers(1, 2), gpu_memory_mib=st.sampled_from([8192, 27307, 81920])),
)


@given(st.lists(PARTS, max_size=14), st.integers(1, 3), st.booleans())
def test_no_device_is_given_more_than_once_over(asks: list[AskClass], size: int, spread: bool) -> None:
    nodes = [node(n, *(device(f"{n}{i}") for i in range(size))) for n in "ab"]
    answer = planned(nodes, *asks, spread=spread)
    taken: dict[str, float] = {}
    for id_, places in answer.placed.items():
        wanted = asks[int(id_[1:])]
        assert len(places) == wanted.members
        for place in places:
            assert len(set(place.gpu_uuids)) == wanted.gpu_count
            for uuid in place.gpu_uuids:
                taken[uuid] = taken.get(uuid, 0.0) + place.gpu_portion
    assert all(total <= 1 + 1e-6 for total in taken.values())
    assert sorted([*answer.placed, *answer.unplaced]) == sorted(f"j{n}" for n in range(len(asks)))
