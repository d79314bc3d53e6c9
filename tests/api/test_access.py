"""Who is let in: bearer tokens, and what web pages may not do to a server on loopback."""

import json
import secrets
from typing import Any

import pytest

from homeport.server.services import access
from tests.files import files_below

from .home import JOBS, Api


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic {token}"},
        {"Authorization": "Bearer {token}x"},
        {"Cookie": "token={token}"},
    ],
    ids=lambda h: next(iter(h.values()), "nothing"),
)
def test_anything_but_the_token_is_a_401(play: Any, headers: dict[str, str]) -> None:
    async def scenario(api: Api) -> None:
        given = {k: v.format(token=api.at.token) for k, v in headers.items()}
        for path in (JOBS, "/homeport/workloads", "/homeport/info"):
            answer = await api.anybody.get(path, headers=given)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert "homeport env" in answer.json()["message"]

    play(scenario)


def test_new_token_begins_with_no_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a command that it is given to, as `homeport token remove`, would take it for an option."""
    drawn = iter(("-Vx", "--x", "_Vx"))
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: next(drawn))
    assert access.new_token() == "_Vx"


def test_token_that_has_expired_is_a_401(play: Any) -> None:
    async def scenario(api: Api) -> None:
        assert (await api.client.get(JOBS)).status_code == 200
        api.at.clock.advance(3650 * 24 * 3600)
        assert (await api.client.get(JOBS)).status_code == 401

    play(scenario)


def test_token_is_kept_as_a_hash_only(play: Any, tmp_path: Any) -> None:
    async def scenario(api: Api) -> None:
        await api.submit()
        kept = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("homeport.db*"))
        assert b"job-" in kept
        assert api.at.token.encode() not in kept

    play(scenario)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8787"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8787"}, 200),
        ({"Host": "gpu.example:8787"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost@evil.example"}, 403),
    ],
    ids=str,
)
def test_page_without_a_token_must_name_a_host_of_ours(
    play: Any, headers: dict[str, str], status: int
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.anybody.get("/homeport/health", headers=headers)
        assert answer.status_code == status
        if status == 403:
            assert "--allow-host" in answer.json()["message"]
        # leptonai sends origins of its user's choice; with a token nobody minds.
        assert (await api.client.get(JOBS, headers=headers)).status_code == 200

    play(scenario, allow_host=("gpu.example",))


def test_no_answer_invites_other_origins(play: Any) -> None:
    async def scenario(api: Api) -> None:
        asks = {"Origin": "http://localhost", "Access-Control-Request-Method": "POST"}
        for answer in (
            await api.client.get(JOBS, headers=asks),
            await api.anybody.options(JOBS, headers=asks),
            await api.anybody.get("/homeport/health", headers=asks),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]

    play(scenario)


def test_secret_value_is_in_no_answer_and_in_no_file(play: Any, tmp_path: Any) -> None:
    async def scenario(api: Api) -> None:
        secrets = "/api/v2/workspaces/local/secrets"
        made = await api.client.post(secrets, json=[{"name": "S", "value": "very-secret-value"}])
        assert made.status_code in (200, 201)
        job = await api.submit(envs=[{"name": "S", "value_from": {"secret_name_ref": "S"}}])
        told = [await api.client.get(p) for p in (secrets, JOBS, f"{JOBS}/{job['metadata']['id']}/events")]
        assert "very-secret-value" not in json.dumps([job, *(t.text for t in told)])
        kept = files_below(tmp_path / "data")
        assert kept
        assert [p for p in kept if b"very-secret-value" in kept[p]] == []

    play(scenario)
