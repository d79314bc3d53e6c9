"""The connection to one Docker engine: clients, bounded pools, streams. Every call ends in time."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import docker
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.errors import APIError, DockerException, create_api_error_from_http_exception
from docker.types import CancellableStream
from docker.utils import kwargs_from_env
from requests import HTTPError, Request, Response
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError as ConnectionBroke

from ..errors import RuntimeUnavailable

T = TypeVar("T")
API_VERSION = "1.41"  # what Docker 20.10 speaks; newer engines may ask for more
# Patience with one HTTP request, until the next byte: looking is quick, starting is not.
PING_S, QUICK_S, LONG_S, PULL_S = 3, 4, 60, 600
LIMIT_S = {"ping": 4.5}  # with the wait for a thread of the pool
# Everything a dead, hanging or restarting engine makes the SDK raise.
BROKEN = (DockerException, RequestException, ConnectionBroke, HTTPException, OSError)


class Engine:
    """
    Blocking work runs in one pool per kind, so what hangs in one never holds up another.
    The clients are made at the first call: an engine that is down is no reason not to start.
    """

    def __init__(self, base_url: str | None, launches: int) -> None:
        self._arguments: dict[str, Any] = {"base_url": base_url} if base_url else {**kwargs_from_env()}
        sizes = {"launch": launches, "call": 8, "list": 2, "stop": 32, "ping": 2}
        self._pools = {name: ThreadPoolExecutor(n, f"docker-{name}") for name, n in sizes.items()}
        self._lock = threading.Lock()
        self._version: str | None = None
        self._clients: dict[int, Any] = {}

    @property
    def pinger(self) -> Any:
        return self.client(PING_S)

    @property
    def quick(self) -> Any:
        """For what only looks: gives up after a few seconds."""
        return self.client(QUICK_S)

    @property
    def slow(self) -> Any:
        """For what changes things."""
        return self.client(LONG_S)

    def client(self, patience_s: int) -> Any:
        with self._lock:
            version = self._version
        if version is None:  # not under the lock: a hanging engine must not queue up who asks
            version = self._negotiate()
        with self._lock:
            self._version = version
            if patience_s not in self._clients:
                self._clients[patience_s] = docker.APIClient(
                    **self._arguments, version=version, timeout=patience_s
                )
            return self._clients[patience_s]

    def _negotiate(self) -> str:
        with contextlib.closing(
            docker.APIClient(**self._arguments, version=API_VERSION, timeout=PING_S)
        ) as asking:
            lowest = str(asking.version(api_version=False).get("MinAPIVersion") or API_VERSION)
        return max(lowest, API_VERSION, key=lambda text: [int(part) for part in text.split(".")])

    async def call(self, pool: str, work: Callable[..., T], *args: Any) -> T:
        """Refusals come as APIError, whose subject only the caller knows."""
        running = asyncio.get_running_loop().run_in_executor(self._pools[pool], work, *args)
        try:
            return await asyncio.wait_for(running, LIMIT_S.get(pool))
        except APIError:
            raise
        except TimeoutError as error:
            raise RuntimeUnavailable("Docker", "no answer in time") from error
        except BROKEN as error:
            raise unavailable(error) from error

    def socket_owner(self) -> int | None:
        """Process id behind the engine's unix socket; None where it is not one of this machine."""
        url = urlsplit(str(self._arguments.get("base_url") or DEFAULT_UNIX_SOCKET))
        if url.scheme not in ("unix", "http+unix") or not hasattr(socket, "SO_PEERCRED"):
            return None
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(PING_S)
                probe.connect(url.path or f"/{url.netloc}")
                raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid: int = struct.unpack("3i", raw)[0]
            # 1: systemd holds the socket and gives it to dockerd, which says itself who it is.
            return int(Path("/run/docker.pid").read_text()) if pid == 1 else pid or None
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for client in self._clients.values():
                client.close()

    def open(
        self,
        method: str,
        path: str,
        *,
        read_s: float | None,
        **params: Any,
    ) -> Response:
        """
        A response to read from; `read_s` is the patience between two bytes of its body, None
        waits for ever. The head comes at once (20.10 sends it before a follow has anything to
        say), so an engine that hangs, or dies in between, never holds the thread.
        """
        api: Any = self.slow
        response: Response = api.request(
            method,
            f"{api.base_url}/v{api.api_version}{path}",
            params=params,
            stream=True,
            timeout=(QUICK_S, LONG_S if read_s is None else read_s),
        )
        try:
            response.raise_for_status()
        except HTTPError as error:
            with contextlib.closing(response):
                raise create_api_error_from_http_exception(error) from error
        if read_s is None:
            api._disable_socket_timeout(api._get_raw_response_socket(response))
        return response

    def connect(self, *, read_s: float) -> HTTPConnection:
        """A connection of its own, by whatever way the SDK reaches the engine; closing its socket ends it."""
        api = self.slow
        request = Request("GET", f"{api.base_url}/").prepare()
        adapter = api.get_adapter(request.url)
        pool = adapter.get_connection_with_tls_context(request, api.verify, cert=api.cert)
        dialled = pool._new_conn()
        dialled.timeout = QUICK_S
        dialled.connect()
        dialled.sock.settimeout(read_s)
        connection = HTTPConnection("localhost")
        connection.sock = dialled.sock  # urllib3's own would read an answer whole
        return connection


def unavailable(error: BaseException) -> RuntimeUnavailable:
    return RuntimeUnavailable("Docker", str(error) or type(error).__name__)


def close_response(response: Response) -> None:
    """Frees a thread that waits in this response; the SDK knows how to find the socket."""
    with contextlib.suppress(*BROKEN, AttributeError):  # AttributeError: it ended at this moment
        CancellableStream(iter(()), response).close()
