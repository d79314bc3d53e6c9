"""Pulls: bounded per registry, cancelled at once, each failure told with what it needs."""

import asyncio
import base64
import contextlib
import json
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode
from weakref import WeakValueDictionary

from docker import auth
from docker.utils import parse_repository_tag
from docker.utils.json_stream import json_stream

from ..driver import LoginSource
from ..errors import ImagePullFailed, PullFailure
from ..images import HUB, registry_of
from ..model import RegistryLogin
from .docker_engine import BROKEN, PULL_S, Engine, unavailable
from .streams import from_thread

MAX_PULLS = 8  # at a time, per registry: one that hangs holds up its own images only
# As engines from 20.10 on word them, without what they quote; the first that matches decides.
FAILURES = tuple(
    (failure, re.compile(words, re.IGNORECASE))
    for failure, words in (
        (PullFailure.PLAIN_HTTP, r"HTTP response to HTTPS client|does not look like a TLS handshake"),
        (PullFailure.UNTRUSTED, r"x509|certificate"),
        (PullFailure.LIMITED, r"too ?many ?requests|rate limit"),
        (PullFailure.DENIED, r"no basic auth|unauthorized|denied|forbidden|incorrect username or password"),
        (PullFailure.INVALID, r"invalid (reference|tag|repository)"),
        (PullFailure.SILENT, r"Client\.Timeout|deadline exceeded|i/o timeout|handshake timeout|no progress"),
        (
            PullFailure.UNREACHABLE,
            r"connection refused|no such host|no route to host|network is unreachable|connection reset"
            r"|\bEOF\b|dial tcp|server misbehaving",
        ),
        (PullFailure.MISSING, r"not found|manifest unknown|name unknown|no matching manifest"),
    )
)


# What another login may mend: who may not see an image is told by many registries that there is none.
OF_THE_LOGIN = frozenset({PullFailure.DENIED, PullFailure.LIMITED, PullFailure.MISSING})


class Pulls:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def pull(self, image: str, login_source: LoginSource) -> None:
        """
        With one login after the other, until the registry gives the image or says something of it that
        no login mends. Cancelling it closes the stream, at which the engine gives up as well.

        Raises:
            ImagePullFailed: whatever the registry, or the engine about it, has said.
            RuntimeUnavailable: it was the engine that broke off.
        """
        async with self._slots.setdefault(registry_of(image), asyncio.Semaphore(MAX_PULLS)):
            # The engine would send a login to whatever registry the image is pulled from.
            logins = [login for login in await login_source() if login.server == registry_of(image)]
            failed: list[ImagePullFailed] = []
            for login in logins or (None,):
                text = await self._pull(image, login)
                if not text:
                    return
                failed.append(pull_failed(image, text, login, logins))
                if failed[-1].failure not in OF_THE_LOGIN:
                    break
            raise all_failed(failed)

    async def _pull(self, image: str, login: RegistryLogin | None) -> str:
        """What the engine has against it, "" once the image is there."""
        lines = from_thread(lambda: PullStream(self._engine, image, login))
        try:
            async with contextlib.aclosing(lines) as batches:
                async for batch in batches:
                    for line in batch:
                        if "error" in line:
                            return str(line["error"]) or "no reason is given"
        except BROKEN as error:
            raise unavailable(error) from error
        return ""


def pull_failed(
    image: str, text: str, login: RegistryLogin | None, tried: Sequence[RegistryLogin] = ()
) -> ImagePullFailed:
    """
    The engine passes on what a registry says of a login; one that repeats it is not quoted.

    Args:
        login: that went with the pull. tried: all that the registry may have been shown.
    """
    failure = failure_of(image, text)
    shown = (*tried, login) if login else tried
    if any(hidden in text for one in shown for hidden in _spellings(one)):
        text = "the registry's answer repeats the password and is not shown"
    return ImagePullFailed(image, text, failure, (login.name,) if login else ())


def all_failed(failed: Sequence[ImagePullFailed]) -> ImagePullFailed:
    """
    One error for the tries with each login. A login that was let in tells more of the image than one
    that was not; of several alike the first is quoted.
    """
    told = next((f for f in failed if f.failure is not PullFailure.DENIED), failed[0])
    others = [f"{f.logins[0]!r}: {f.failure.value}" for f in failed if f is not told]
    if not others:
        return told
    detail = f"{told.detail} (with login {told.logins[0]!r}; with {', '.join(others)})"
    names = tuple(name for f in failed if f.failure is told.failure for name in f.logins)
    return ImagePullFailed(told.image, detail, told.failure, names)


def failure_of(image: str, text: str) -> PullFailure:
    """From the engine's words, but not from the name of the image in them."""
    quoted = rf'"[^"]*"|{re.escape(parse_repository_tag(image)[0])}\S*'
    words = re.sub(quoted, "", text)
    return next((failure for failure, found in FAILURES if found.search(words)), PullFailure.OTHER)


def _spellings(login: RegistryLogin) -> tuple[str, ...]:
    """As it is, and as it travels."""
    pair = f"{login.username}:{login.password}".encode()
    return login.password, *(
        e(pair).decode().rstrip("=") for e in (base64.b64encode, base64.urlsafe_b64encode)
    )


class PullStream:
    """
    Progress of a pull, as the engine words it; a refusal is a line with "error". Closing it makes
    the engine give up.

    The engine sends no headers until the registry has answered it, so the request is made on a
    connection that can be closed before them; the SDK's own could only be left to its timeout.

    Args:
        login: without one the engine gets what its own user is logged in with (`docker login`).
    """

    def __init__(self, engine: Engine, image: str, login: RegistryLogin | None) -> None:
        repository, tag = parse_repository_tag(image)
        query = urlencode({"fromImage": repository, "tag": tag or "latest"})
        self._path = f"/v{engine.slow.api_version}/images/create?{query}"
        header: Any = _header(login) if login else auth.get_config_header(engine.slow, registry_of(image))
        self._headers = {"X-Registry-Auth": header.decode()} if header else {}
        self._connection = engine.connect(read_s=PULL_S)

    def __iter__(self) -> Iterator[Sequence[dict[str, Any]]]:
        with contextlib.closing(self._connection) as connection:
            try:
                connection.request("POST", self._path, headers=self._headers)
                response = connection.getresponse()
                if response.status >= 400:
                    yield [{"error": _message(response.read())}]
                    return
                chunks: Any = iter(response.read1, b"")
                lines: Any = json_stream(chunks)
                for line in lines:
                    yield [line]
            except TimeoutError:  # it is the registry that the engine waits for
                yield [{"error": f"no progress in {PULL_S} s"}]

    def close(self) -> None:
        if (opened := self._connection.sock) is not None:
            with contextlib.suppress(OSError):  # the engine closed it at this moment
                opened.shutdown(socket.SHUT_RDWR)


def _header(login: RegistryLogin) -> bytes:
    server = auth.INDEX_URL if login.server == HUB else login.server
    raw = {"username": login.username, "password": login.password, "serveraddress": server}
    return base64.urlsafe_b64encode(json.dumps(raw).encode())


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")
