"""What is imported when it is first asked for: nothing of it is in a start, and all of it is answered."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Scope

from homeport.server.api.first_use import OnFirstUse
from homeport.server.api.lepton import app as lepton

from .home import JOBS, Api

Play = Callable[..., None]
SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
LATE = (
    "fastapi", "docker", "alembic", "jinja2", "cryptography", "jwt", "prometheus_client", "yaml", "pynvml",
    "homeport.server.api.lepton.wire", "homeport.server.api.runai.app", "homeport.server.gateway.gateway",
)  # fmt: skip


async def ask(app: ASGIApp) -> str:
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        told.append(message)

    await app(SCOPE, receive, send)
    return b"".join(message.get("body", b"") for message in told).decode()


def test_start_imports_nothing_that_only_requests_need() -> None:
    script = f"import sys, homeport.server.app; print([m for m in {LATE!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_application_is_made_once_and_blocks_nobody_when_many_ask_at_once() -> None:
    made: list[int] = []
    may_end = threading.Event()

    def make() -> ASGIApp:
        made.append(threading.get_ident())
        assert may_end.wait(20)
        return PlainTextResponse("made")

    async def scenario() -> list[str]:
        app = OnFirstUse(make)
        asking = [asyncio.create_task(ask(app)) for _ in range(3)]
        end = time.monotonic() + 20
        while not made:  # that this goes on shows that the loop is free meanwhile
            assert time.monotonic() < end
            await asyncio.sleep(0)
        may_end.set()
        return [*await asyncio.gather(*asking), await ask(app)]

    assert asyncio.run(scenario()) == ["made"] * 4
    assert len(made) == 1
    assert made[0] != threading.get_ident()


def test_application_is_made_at_the_next_request_when_it_could_not_be_at_one() -> None:
    tries: list[str] = []

    def make() -> ASGIApp:
        tries.append("try")
        if len(tries) == 1:
            raise ImportError("not now")
        return PlainTextResponse("made")

    app = OnFirstUse(make)
    with pytest.raises(ImportError):
        asyncio.run(ask(app))
    assert asyncio.run(ask(app)) == "made"


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "OPTIONS"])
def test_health_is_refused_as_any_other_path_when_it_is_not_got(play: Play, method: str) -> None:
    async def scenario(api: Api) -> None:
        health, other = [await api.client.request(method, f"/homeport/{p}") for p in ("health", "info")]
        assert (health.status_code, health.headers["allow"]) == (405, "GET")
        assert (health.status_code, health.text) == (other.status_code, other.text.replace("info", "health"))

    play(scenario)


def test_dialect_is_built_before_any_request_when_the_server_says_so(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []
    make = lepton.make_app
    monkeypatch.setattr(lepton, "make_app", lambda ctx: built.append(ctx) or make(ctx))

    async def scenario(api: Api) -> None:
        assert (await api.anybody.get("/homeport/health")).status_code == 200
        assert not built
        api.at.home.build()
        assert len(built) == 1
        api.at.home.build()
        assert (await api.client.get(JOBS)).json() == []
        assert len(built) == 1

    play(scenario)
