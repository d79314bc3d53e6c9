"""Run:ai's frame in process: who gets in, for how long, and where what goes."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from homeport.runtime.clock import VirtualClock

from .home import JOBS, Api

TOKEN = "/api/v1/token"
CLUSTERS = "/api/v1/clusters"
Play = Callable[..., None]


async def grant(api: Api) -> dict[str, Any]:
    name, secret = api.at.application
    answer = await api.anybody.post(
        TOKEN, json={"grantType": "app_token", "AppId": name, "AppSecret": secret}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def get(api: Api, path: str, token: str, **headers: str) -> httpx.Response:
    return await api.anybody.get(path, headers={"Authorization": f"Bearer {token}", **headers})


def test_token_expires_when_its_time_has_come_and_is_renewed_before(play: Play) -> None:
    async def scenario(api: Api) -> None:
        assert isinstance(api.at.clock, VirtualClock)
        first = await grant(api)
        assert first["expiresIn"] == 600
        api.at.clock.advance(599)
        assert (await get(api, CLUSTERS, first["accessToken"])).status_code == 200
        api.at.clock.advance(1)
        refused = await get(api, CLUSTERS, first["accessToken"])
        assert (refused.status_code, refused.json()["details"]) == (401, "unauthorized")
        body = {"grantType": "refresh_token", "refreshToken": first["refreshToken"]}
        second = (await api.anybody.post(TOKEN, json=body)).json()
        assert (await get(api, CLUSTERS, second["accessToken"])).status_code == 200
        api.at.clock.advance(600)
        assert (await api.anybody.post(TOKEN, json=body)).status_code == 400

    play(scenario, runai_token_lifetime_s=600)


@pytest.mark.parametrize("change", ["payload", "signature", "algorithm", "parts"])
def test_token_that_was_tampered_with_opens_nothing(play: Play, change: str) -> None:
    import jwt

    async def scenario(api: Api) -> None:
        good = (await grant(api))["accessToken"]
        head, payload, signature = good.split(".")
        claims = jwt.decode(good, options={"verify_signature": False})
        other = jwt.encode(claims | {"exp": claims["exp"] + 9}, "another key of more than 32 bytes", "HS256")
        bad = {
            "payload": f"{head}.{other.split('.')[1]}.{signature}",
            "signature": other,
            "algorithm": jwt.encode(claims, None, "none"),
            "parts": f"{head}.{payload}",
        }[change]
        assert (await get(api, CLUSTERS, bad)).status_code == 401
        assert (await get(api, CLUSTERS, good)).status_code == 200

    play(scenario)


def test_each_dialect_takes_its_own_tokens_only(play: Play) -> None:
    async def scenario(api: Api) -> None:
        runai = (await grant(api))["accessToken"]
        assert (await get(api, CLUSTERS, api.at.token)).status_code == 401
        assert (await get(api, JOBS, runai)).status_code == 401
        assert (await get(api, CLUSTERS, runai)).status_code == 200
        assert (await get(api, JOBS, api.at.token)).status_code == 200

    play(scenario)


def test_page_of_another_host_is_let_in_with_a_token_and_not_without(play: Play) -> None:
    """A name that leads to loopback by DNS must not reach the token call from a browser."""

    async def scenario(api: Api) -> None:
        token = (await grant(api))["accessToken"]
        foreign = {"Host": "evil.example"}
        assert (await get(api, CLUSTERS, token, **foreign)).status_code == 200
        assert (await get(api, CLUSTERS, "none", **foreign)).status_code == 403
        name, secret = api.at.application
        body = {"AppId": name, "AppSecret": secret}
        assert (await api.anybody.post(TOKEN, json=body, headers=foreign)).status_code == 403

    play(scenario)


@pytest.mark.parametrize("path", ["/api/v1/clusters/", "//api/v1//clusters", "/api/v1/clusters?"])
def test_path_is_cleaned_and_never_led_elsewhere(play: Play, path: str) -> None:
    async def scenario(api: Api) -> None:
        token = (await grant(api))["accessToken"]
        answer = await get(api, f"http://127.0.0.1{path}", token)
        assert (answer.status_code, len(answer.json())) == (200, 1)

    play(scenario)


def test_refused_operations_are_counted_for_the_coverage(play: Play) -> None:
    async def scenario(api: Api) -> None:
        token = (await grant(api))["accessToken"]
        for _ in range(2):
            assert (await get(api, "/api/v1/users", token)).status_code == 501
        told = (await api.client.get("/homeport/coverage")).json()["runai"]
        assert (told["of"], told["refused"]) == (391, {"GET /api/v1/users": 2})
        row = next(o for o in told["operations"] if (o["method"], o["path"]) == ("GET", "/api/v1/users"))
        assert row["test"] is None

    play(scenario)


def test_application_that_is_gone_takes_its_tokens_with_it(play: Play) -> None:
    from sqlmodel import Session, delete

    from homeport.server.store.tables import ApplicationRow

    async def scenario(api: Api) -> None:
        token = (await grant(api))["accessToken"]

        def remove(session: Session) -> None:
            session.exec(delete(ApplicationRow))

        await api.at.home.services.store.write(remove)
        assert (await get(api, CLUSTERS, token)).status_code == 401

    play(scenario)
