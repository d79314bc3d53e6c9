"""Several who change the quotas of one project at the same moment."""

import asyncio
from typing import Any

from tests.api.home import Api
from tests.api.test_runai_frame import grant

QUOTAS = "/api/v1/org-unit/projects"


def test_quota_keeps_both_changes_when_two_patch_it_at_once(play: Any) -> None:
    async def scenario(api: Api) -> None:
        headers = {"Authorization": f"Bearer {(await grant(api))['accessToken']}"}
        asked = api.anybody

        async def patch(what: str, deserved: float) -> None:
            path, body = f"{QUOTAS}/3/resources", [{"nodePool": {"id": "1"}, what: {"deserved": deserved}}]
            answer = await asked.patch(path, headers=headers, json=body)
            assert answer.status_code == 200, answer.text

        await asyncio.gather(patch("gpu", 3), patch("cpu", 5000), patch("memory", 700))
        (told,) = (await asked.get(f"{QUOTAS}/3", headers=headers)).json()["resources"]
        assert [told[what]["deserved"] for what in ("gpu", "cpu", "memory")] == [3, 5000, 700]

    play(scenario)


def test_quota_keeps_both_changes_when_two_of_the_command_line_set_it_at_once(play: Any) -> None:
    async def scenario(api: Api) -> None:
        path = "/homeport/projects/local/quota"

        async def change(what: str) -> None:
            answer = await api.client.post(path, json={"pool": "default", what: {"limit": 2}})
            assert answer.status_code == 200, answer.text

        await asyncio.gather(change("gpu"), change("cpu"))
        (project,) = (await api.client.get("/homeport/projects")).json()
        (quota,) = project["quotas"]
        assert (quota["gpu"]["limit"], quota["cpu"]["limit"]) == (2, 2)

    play(scenario)
