"""`assert_world_ok` and `settle`, as users have them in their own tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, delete

from homeport.runtime.drivers.simulated import Rule
from homeport.server.invariants import facts_of
from homeport.server.services.secrets import create_secrets
from homeport.server.store.secrets import Secret
from homeport.server.store.tables import LeaseRow
from homeport.server.store.writes import add_event
from homeport.server.testing import assert_world_ok

from .home import Api
from .test_endpoints import PATH, body

FOREVER = Rule(run_for_s=None)
VALUE = 'pass"word\u00e9-1234'


async def keep_secret(api: Api) -> None:
    secret = Secret("local", "TOKEN", "ada@example.org")
    await create_secrets(api.at.home.services, [(secret, VALUE)])


def test_all_is_well_when_a_server_has_come_to_rest(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await keep_secret(api)
        env = [{"name": "TOKEN", "value_from": {"secret_name_ref": "TOKEN"}}]
        made = await api.submit(
            resource_shape="gpu.h100-sxm", container={"image": "any:1", "command": ["true"]}, envs=env
        )
        assert (await api.client.post(PATH, json=body("e"))).status_code == 201
        await api.at.settle()
        assert api.phase(made["metadata"]["id"]) == "running"
        before = await assert_world_ok(api.at.home, is_quiet=True)
        await api.at.pass_time(120, step_s=30)
        after = await assert_world_ok(api.at.home, before=before, is_quiet=True)
        assert after.now_ms == before.now_ms + 120_000
        assert len(after.leases) == 1

    play(scenario, Rule(kind="job", run_for_s=None), gpus="1xH100-80GB")


def test_what_is_broken_is_told_when_somebody_takes_a_lease_away(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await api.submit(resource_shape="gpu.h100-sxm")
        await api.at.settle()

        def steal(session: Session) -> None:
            session.exec(delete(LeaseRow))

        await api.at.home.services.store.write(steal)
        with pytest.raises(AssertionError, match="without a lease"):
            await assert_world_ok(api.at.home)

    play(scenario, FOREVER, gpus="1xH100-80GB")


def test_what_went_backwards_is_told_when_an_earlier_look_is_given(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit())["metadata"]["id"]
        await api.at.settle()
        facts = await facts_of(api.at.home)
        ahead = {made: replace(facts.workloads[made], generation=7)}
        with pytest.raises(AssertionError, match="gone back to generation 1"):
            await assert_world_ok(api.at.home, before=replace(facts, workloads=ahead))

    play(scenario, FOREVER)


@pytest.mark.parametrize("text", [VALUE, 'it said {"key": "pass\\"word\\u00e9-1234"}'], ids=["plain", "json"])
def test_value_of_a_secret_is_found_when_it_stands_in_a_table(play: Any, text: str) -> None:
    async def scenario(api: Api) -> None:
        await keep_secret(api)
        assert (await facts_of(api.at.home)).leaks == []
        await api.at.home.services.store.write(lambda s: add_event(s, "x", 1, "Error", f"{text}!"))
        assert (await facts_of(api.at.home)).leaks == ["event.message"]

    play(scenario)


def test_value_of_a_secret_is_found_when_it_stands_in_a_journal(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await keep_secret(api)
        folder = api.at.home.services.folders.own.parent
        (folder / "simulated.jsonl").write_text(f"{VALUE}\n", encoding="utf-8")
        assert (await facts_of(api.at.home)).leaks == ["simulated.jsonl"]

    play(scenario)


def test_example_of_the_docs_is_right_as_it_stands(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    part = text.partition("\n## In the test's own process\n")[2]
    code = part.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/testing.md", "exec"), names)
    names["test_job_is_done_within_two_minutes"](tmp_path)
