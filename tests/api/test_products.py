"""Nodes with GPUs of two products: which of them work runs on is told, and by what it goes."""

from pathlib import Path
from typing import Any

from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.inventory import shapes_of
from homeport.server.domain.workload import WorkloadSpec
from homeport.server.services import org
from homeport.server.services.workloads import create_workload

from .home import Api
from .projects import ME, Shared

FOREVER = Rule(run_for_s=None)
SEED = """
nodes:
  - {name: n-a, gpus: 2xA100-80GB, cpu_cores: 64, memory: 64GiB}
  - {name: n-b, gpus: 2xH100-80GB, cpu_cores: 128, memory: 128GiB}
"""


async def why(api: Api, name: str) -> list[str]:
    answer = await api.client.get(f"/homeport/why/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()["reasons"]


def test_the_product_that_it_runs_on_is_told_when_it_asked_for_none(play: Any, tmp_path: Path) -> None:
    seed = tmp_path / "world.yaml"
    seed.write_text(SEED)

    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8)
        small = next(s for s in shapes_of(org.nodes_now(home.services)) if s.name.startswith("gpu.a100"))
        products = {g.product for n in org.nodes_now(home.services) for g in n.gpus}
        a100, h100 = sorted(products)

        async def submit(name: str, gpus: int, portion: float = 1.0) -> str:
            wanted = WorkloadSpec("any:1", ("true",), small.name, 1, 512, gpu_count=gpus, gpu_portion=portion)
            made = await create_workload(
                home.services, workspace="a", name=name, kind="job", owner=ME, spec=wanted
            )
            return made.id

        first = await submit("first", 2)
        await home.becomes(first, "running")
        second = await submit("second", 1, 0.5)
        await home.becomes(second, "running")
        (one,), (two,) = home.attempts(first), home.attempts(second)
        assert (one.node, two.node) == ("n-a", "n-b")
        assert home.events(first, "Scheduled") == [f"{one.replica_id} goes to n-a with 2 {a100}"]
        assert home.events(second, "Scheduled") == [f"{two.replica_id} goes to n-b with 0.5 of 1 {h100}"]
        told = await why(api, second)
        assert f"{two.replica_id} is on n-b with 0.5 of 1 {h100}" in told
        assert told[-1] == (
            "it asked for no product of GPUs, so it may be on any; it goes by the name and the price of "
            f"{small.name}, the smallest shape with as many"
        )
        assert (await why(api, first))[-1] == f"{one.replica_id} is on n-a with 2 {a100}"

    play(scenario, FOREVER, seed=seed)
