"""Every grant of the token call: whose token it gives, for how long, and what it refuses."""

from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from sqlmodel import Session

from homeport.runtime.clock import VirtualClock
from homeport.server.services.access import hash_token
from homeport.server.store.tables import ApplicationRow

from .home import JOBS, Api
from .test_runai_frame import CLUSTERS, TOKEN, get, grant

Play = Callable[..., None]
EXCHANGE = "exchange_token"


async def ask(api: Api, kind: str, **fields: Any) -> httpx.Response:
    return await api.anybody.post(TOKEN, json={"grantType": kind} | fields)


async def given(api: Api, kind: str, **fields: Any) -> dict[str, Any]:
    answer = await ask(api, kind, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def move(api: Api, seconds: float) -> None:
    assert isinstance(api.at.clock, VirtualClock)
    api.at.clock.advance(seconds)


async def add_application(api: Api, client_id: str, name: str, secret: str) -> None:
    row = ApplicationRow(
        client_id=client_id, name=name, sha256=hash_token(secret), created_at_ms=1,
        doc=f'{{"id": "id-of-{client_id}", "created_by": "homeport", "roles": []}}',
    )  # fmt: skip

    def save(session: Session) -> None:
        session.merge(row)

    await api.at.home.services.store.write(save)


def test_password_grant_takes_the_secret_of_an_application_by_any_of_its_names(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await add_application(api, "ci-1", "ci of the lab", "s-e-c-r-e-t")
        for named in ("ci-1", "ci of the lab", "id-of-ci-1"):
            made = await given(api, "password", username=named, password="s-e-c-r-e-t")
            assert claims(made["accessToken"])["azp"] == "ci-1"
            assert (await get(api, CLUSTERS, made["accessToken"])).status_code == 200

    play(scenario)


def test_name_that_two_applications_have_stands_for_neither(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await add_application(api, "ci-1", "ci", "secret-1")
        await add_application(api, "ci-2", "ci", "secret-2")
        await add_application(api, "thief", "homeport", "secret-3")  # named as another calls itself
        assert (await ask(api, "password", username="ci", password="secret-1")).status_code == 400
        assert (await ask(api, "password", username="homeport", password="secret-3")).status_code == 400
        made = await given(api, "password", username="ci-2", password="secret-2")
        assert claims(made["accessToken"])["azp"] == "ci-2"

    play(scenario)


def test_wrong_password_is_told_no_otherwise_than_an_unknown_name(play: Play) -> None:
    async def scenario(api: Api) -> None:
        name, secret = api.at.application
        wrong = await ask(api, "password", username=name, password=f"{secret}x")
        unknown = await ask(api, "password", username="nobody", password=secret)
        assert (wrong.status_code, unknown.status_code) == (400, 400)
        assert wrong.json() == unknown.json()
        assert (wrong.json()["details"], secret in wrong.text) == ("invalid_grant", False)
        assert wrong.json()["message"].startswith("no application has this username and password")
        # The other dialect's token is no password, and its owner's name no application's.
        for owner in (name, "admin@homeport.local", "local"):
            answer = await ask(api, "password", username=owner, password=api.at.token)
            assert answer.json() == wrong.json()

    play(scenario)


def test_exchanged_token_is_the_same_subjects_and_ends_with_what_it_was_given_for(play: Play) -> None:
    async def scenario(api: Api) -> None:
        first = await grant(api)
        move(api, 400)
        second = await given(api, EXCHANGE, code=first["accessToken"], redirectUri="http://127.0.0.1/x")
        assert second["expiresIn"] == 200
        old, new, fresh = (claims(t) for t in (first["accessToken"], second["accessToken"],
                                               second["refreshToken"]))  # fmt: skip
        assert (new["sub"], new["azp"], new["exp"]) == (old["sub"], old["azp"], old["exp"])
        assert fresh["exp"] == old["exp"]
        assert new["jti"] != old["jti"]
        assert (await get(api, CLUSTERS, second["accessToken"])).status_code == 200

    play(scenario, runai_token_lifetime_s=600)


def test_access_token_cannot_be_made_to_last_longer_by_exchanging_and_renewing(play: Play) -> None:
    async def scenario(api: Api) -> None:
        made = await given(api, EXCHANGE, code=(await grant(api))["accessToken"])
        for _ in range(3):
            move(api, 150)
            made = await given(api, "refresh_token", refreshToken=made["refreshToken"])
            made = await given(api, EXCHANGE, code=made["accessToken"])
        assert made["expiresIn"] == 150
        move(api, 150)
        assert (await get(api, CLUSTERS, made["accessToken"])).status_code == 401
        assert (await ask(api, "refresh_token", refreshToken=made["refreshToken"])).status_code == 400
        assert (await ask(api, EXCHANGE, code=made["accessToken"])).status_code == 400

    play(scenario, runai_token_lifetime_s=600)


def test_tokens_of_a_secret_are_renewed_without_end_still(play: Play) -> None:
    async def scenario(api: Api) -> None:
        made = await grant(api)
        for _ in range(4):
            move(api, 900)  # the access token has expired, the refresh token has not
            made = await given(api, "refresh_token", refreshToken=made["refreshToken"])
            assert made["expiresIn"] == 600
        assert "end" not in claims(made["refreshToken"])

    play(scenario, runai_token_lifetime_s=600)


def test_nothing_but_an_access_token_of_ours_is_exchanged(play: Play) -> None:
    async def scenario(api: Api) -> None:
        made = await grant(api)
        told = claims(made["accessToken"])
        forged = jwt.encode(told, "another key of more than 32 bytes", "HS256")
        bad = [made["refreshToken"], forged, jwt.encode(told, None, "none"), api.at.token, "a.b.c", "", 7]
        for code in bad:
            answer = await ask(api, EXCHANGE, code=code)
            assert (answer.status_code, answer.json()["details"]) == (400, "invalid_grant"), code
            assert answer.json()["message"].startswith("code: ")
            assert not str(code) or len(str(code)) < 10 or str(code) not in answer.text
        assert (await ask(api, EXCHANGE, externalToken=made["accessToken"])).status_code == 400
        assert (await ask(api, "refresh_token", refreshToken=made["accessToken"])).status_code == 400
        assert (await get(api, JOBS, made["accessToken"])).status_code == 401  # nor opens it the other API

    play(scenario)


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("password", "username"), ("external_token_exchange", "externalToken"), (EXCHANGE, "code")],
)
def test_grant_without_its_fields_says_which_is_missing(play: Play, kind: str, missing: str) -> None:
    async def scenario(api: Api) -> None:
        for path, name in ((TOKEN, "grantType"), ("/api/v2/token", "grant_type")):
            answer = await api.anybody.post(path, json={name: kind})
            assert answer.status_code == 400
            assert answer.json()["message"].startswith(f"{missing}: is missing")
        if kind == "password":
            answer = await ask(api, kind, username="homeport")
            assert answer.json()["message"].startswith("password: is missing")

    play(scenario)


@pytest.mark.parametrize("form", [True, False])
def test_second_version_takes_every_grant_as_a_form_or_as_json(play: Play, form: bool) -> None:
    async def scenario(api: Api) -> None:
        async def token(**fields: str) -> dict[str, Any]:
            sent: Any = {"data": fields} if form else {"json": fields}
            answer = await api.anybody.post("/api/v2/token", **sent)
            assert answer.status_code == 200, answer.text
            return answer.json()

        name, secret = api.at.application
        first = await token(grant_type="password", username=name, password=secret)
        second = await token(grant_type="authorization_code", code=first["access_token"])
        third = await token(grant_type="refresh_token", refresh_token=second["refresh_token"])
        for made in (first, second, third):
            assert (await get(api, CLUSTERS, made["access_token"])).status_code == 200

    play(scenario)


@pytest.mark.parametrize(
    "kind", ["PASSWORD", "passWord", "TokenRequestGrantTypeEnum.PASSWORD", "pass-word", "password"]
)
def test_grant_and_keys_are_read_however_they_are_spelt(play: Play, kind: str) -> None:
    async def scenario(api: Api) -> None:
        name, secret = api.at.application
        for keys in (("username", "password"), ("userName", "Password"), ("USER_NAME", "pass-word")):
            body = {"GRANT_TYPE": kind} | dict(zip(keys, (name, secret), strict=True))
            assert (await api.anybody.post(TOKEN, json=body)).status_code == 200

    play(scenario)


def test_who_tries_many_wrong_secrets_waits_and_those_known_as_right_go_on(play: Play) -> None:
    """Still a 400, which the client does not try again."""

    async def scenario(api: Api) -> None:
        name, secret = api.at.application
        await add_application(api, "late", "late", "right")
        await given(api, "password", username=name, password=secret)
        details = [
            (await ask(api, kind, username=name, password=f"wrong{n}", AppId=name, AppSecret=f"w{n}"))
            for n in range(40)
            for kind in ("password", "app_token")
        ]
        assert {a.status_code for a in details} == {400}
        assert details[0].json()["details"] == "invalid_grant"
        assert details[-1].json()["details"] == "slow_down"
        # Right or wrong: nothing is told of a secret that was not known.
        late = await ask(api, "password", username="late", password="right")
        assert (late.status_code, late.json()) == (400, details[-1].json())
        await given(api, "password", username=name, password=secret)
        move(api, 1)
        await given(api, "password", username="late", password="right")

    play(scenario)
