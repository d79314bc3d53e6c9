"""Pulls of the docker driver, from a real registry with a login and from some that misbehave."""

import asyncio
import contextlib
import http.server
import socket
import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homeport.runtime.clock import SystemClock
from homeport.runtime.driver import LoginSource
from homeport.runtime.drivers import docker_pull
from homeport.runtime.drivers.docker import DockerDriver
from homeport.runtime.errors import ImagePullFailed, PullFailure
from homeport.runtime.model import ContainerSpec, RegistryLogin
from tests.images import bash_image
from tests.registry import PASSWORD, USER, Registry, open_registry
from tests.world import require_docker

pytestmark = pytest.mark.docker
SPEC = ContainerSpec("pulls", "w", "r", 1, 1, "set later", ("true",))


@pytest.fixture(scope="module", autouse=True)
def engine() -> Any:
    return require_docker()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, engine: Any) -> Generator[Registry]:
    with open_registry(tmp_path_factory.mktemp("registry") / "data", engine) as made:
        yield made


@contextlib.asynccontextmanager
async def driver() -> AsyncGenerator[DockerDriver]:
    made = DockerDriver("pulls", SystemClock())
    try:
        yield made
    finally:
        await made.close()


def login(server: str, password: str = PASSWORD, user: str = USER) -> LoginSource:
    return logins(RegistryLogin("mine", server, user, password))


def logins(*made: RegistryLogin) -> LoginSource:
    async def source() -> Sequence[RegistryLogin]:
        return made

    return source


def failure(image: str, *source: LoginSource) -> ImagePullFailed:
    async def body() -> ImagePullFailed:
        async with driver() as made:
            with pytest.raises(ImagePullFailed) as error:
                await made.prepare(replace(SPEC, image=image), *source)
            return error.value

    return asyncio.run(body())


def test_image_is_pulled_with_the_right_login_only(registry: Registry) -> None:
    image = registry.push(bash_image(registry.engine), "team/tool:1")

    async def body() -> None:
        async with driver() as made:
            spec = replace(SPEC, image=image)
            with pytest.raises(ImagePullFailed, match="no basic auth") as without:
                await made.prepare(spec)
            with pytest.raises(ImagePullFailed, match="unauthorized") as wrong:
                await made.prepare(spec, login(registry.server, "wrong"))
            assert [(e.value.failure, e.value.logins) for e in (without, wrong)] == [
                (PullFailure.DENIED, ()),
                (PullFailure.DENIED, ("mine",)),
            ]
            await made.prepare(spec, login(registry.server))
            assert registry.engine.inspect_image(image)["RepoTags"]

    asyncio.run(body())


def test_each_login_is_tried_until_one_may_pull(registry: Registry) -> None:
    image = registry.push(bash_image(registry.engine), "team/tool:1")
    old = RegistryLogin("old", registry.server, USER, "pw-of-last-year")
    other = RegistryLogin("other", registry.server, "nobody", "pw-of-nobody")
    good = RegistryLogin("good", registry.server, USER, PASSWORD)
    told = failure(image, logins(old, other))
    assert (told.failure, told.logins) == (PullFailure.DENIED, ("old", "other"))
    assert "pw-of" not in str(told)
    missing = failure(f"{registry.server}/team/tool:absent", logins(old, good))
    assert (missing.failure, missing.logins) == (PullFailure.MISSING, ("good",))
    assert "with 'old': denied" in str(missing)
    elsewhere = failure(image, logins(replace(good, server="ghcr.io")))  # it goes to its own server only
    assert (elsewhere.failure, elsewhere.logins) == (PullFailure.DENIED, ())

    async def body() -> None:
        async with driver() as made:
            await made.prepare(replace(SPEC, image=image), logins(old, other, good))
            assert registry.engine.inspect_image(image)["RepoTags"]

    asyncio.run(body())


def test_image_that_is_present_is_not_pulled_and_asks_for_no_login(registry: Registry) -> None:
    async def never() -> Sequence[RegistryLogin]:
        raise AssertionError("nothing is pulled")

    async def body() -> None:
        async with driver() as made:
            await made.prepare(replace(SPEC, image=bash_image(registry.engine)), never)

    asyncio.run(body())


def test_image_by_digest_is_pulled(registry: Registry) -> None:
    image = registry.push(bash_image(registry.engine), "team/pinned:1")
    target, _, _ = image.rpartition(":")
    auth = {"username": USER, "password": PASSWORD}
    digest = registry.engine.inspect_distribution(image, auth_config=auth)["Descriptor"]["digest"]

    async def body() -> None:
        async with driver() as made:
            await made.prepare(replace(SPEC, image=f"{target}@{digest}"), login(registry.server))
            registry.engine.inspect_image(f"{target}@{digest}")
            registry.forget(f"{target}@{digest}")

    asyncio.run(body())


@pytest.mark.parametrize("name", ["team/none:1", "team/tool:absent"])
def test_missing_image_and_missing_tag_are_told_apart_from_a_login(registry: Registry, name: str) -> None:
    registry.push(bash_image(registry.engine), "team/tool:1")
    told = failure(f"{registry.server}/{name}", login(registry.server))
    assert (told.failure, told.logins) == (PullFailure.MISSING, ("mine",))


def test_no_registry_there() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, so that nobody else takes it, and never listening
        port = nobody.getsockname()[1]
        assert failure(f"127.0.0.1:{port}/x:1").failure is PullFailure.UNREACHABLE


@pytest.mark.parametrize("image", ["https://reg.example/x:1", "127.0.0.1:1/UPPER:1", "127.0.0.1:1/x:-"])
def test_name_that_is_no_image_name(image: str) -> None:
    assert failure(image).failure is PullFailure.INVALID


def test_plain_http_beyond_loopback_is_refused_by_the_engine(tmp_path: Path, engine: Any) -> None:
    bridge = engine.inspect_network("bridge")["IPAM"]["Config"][0]
    host = bridge.get("Gateway") or bridge["Subnet"].replace(".0/16", ".1")
    with open_registry(tmp_path / "registry", engine, host) as away:
        told = failure(f"{away.server}/x:1", login(away.server))
    assert told.failure is PullFailure.PLAIN_HTTP


def test_registry_that_never_answers_is_given_up_by_the_engine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = failure(f"127.0.0.1:{silent.getsockname()[1]}/x:1")
    assert told.failure is PullFailure.SILENT


class Trickle(http.server.BaseHTTPRequestHandler):
    """Lets the engine in, and then says nothing: no time-out of the engine's own ends that."""

    def do_GET(self) -> None:
        if self.path == "/v2/":
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            threading.Event().wait(60)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Echo(Trickle):
    """Repeats what it was sent, as a registry might that is no friend."""

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "nothing")
        body = b'{"errors":[{"code":"DENIED","message":"you sent %s"}]}' % sent.encode()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET


@contextlib.contextmanager
def serving(handler: type[Trickle]) -> Generator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.socket.close()


def test_pull_without_progress_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_pull, "PULL_S", 1)
    with serving(Trickle) as server:
        told = failure(f"{server}/x:1")
    assert told.failure is PullFailure.SILENT
    assert "no progress in 1 s" in str(told)


def test_registry_that_repeats_the_login_is_not_quoted() -> None:
    with serving(Echo) as server:
        told = failure(f"{server}/x:1", login(server, "hush-41"))
    assert told.failure is PullFailure.DENIED
    assert "you sent" not in str(told)
    assert "repeats the password" in str(told)


def test_pulls_that_hang_hold_up_no_pull_from_another_registry(registry: Registry) -> None:
    """More of them than one registry may have at a time, and all end at once when cancelled."""
    image = registry.push(bash_image(registry.engine), "team/other:1")

    async def body(server: str) -> None:
        async with driver() as made:
            hanging = [
                asyncio.create_task(made.prepare(replace(SPEC, image=f"{server}/x{n}:1")))
                for n in range(docker_pull.MAX_PULLS + 2)
            ]
            await made.prepare(replace(SPEC, image=image), login(registry.server))
            assert not any(task.done() for task in hanging)
            for task in hanging:
                task.cancel()
            ends = await asyncio.gather(*hanging, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends)

    with serving(Trickle) as server:
        asyncio.run(asyncio.wait_for(body(server), 20))
