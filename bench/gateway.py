"""
CPU per request of the gateway at 16 keep-alive connections, with its token check and access records:
for a client that repeats itself, whose last head is remembered, and for one that does not.

Beside it: nginx where it is installed, a proxy of aiohttp where that can be imported, and
the usual one of Starlette and httpx. All go to one replica, which says 1 KiB.
"""

import asyncio
import contextlib
import hashlib
import importlib
import importlib.util
import itertools
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

from .figures import Figure, alternate, show
from .load import drive, request
from .servers import Server, free_port, started

ROUNDS, CELL_S, CLIENTS = 5, 1.0, 16
TOKEN = "bench-token"
PATH = "/e/ws/ep/"
BODY = b"x" * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + BODY
HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade", b"host"}
NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream replica {{ server 127.0.0.1:{replica}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port}; proxy_http_version 1.1; proxy_buffering off; proxy_set_header Connection "";
    location / {{ proxy_pass http://replica; }}
  }}
}}
"""


def cpu_per_request(server: Server, *, varied: bool = False) -> float:
    """In microseconds, of the proxy alone."""
    same, numbers = request("GET", PATH, TOKEN), itertools.count()

    def make() -> bytes:
        return request("GET", f"{PATH}?{next(numbers)}", TOKEN) if varied else same

    before = server.cpu_s()
    load = drive(server.port, make, clients=CLIENTS, seconds=CELL_S)
    if load.refused:
        raise RuntimeError(f"{load.refused} requests were refused")
    return (server.cpu_s() - before) / load.answered * 1e6


@contextlib.contextmanager
def homeport_gateway(folder: Path, replica: int) -> Generator[Server]:
    port, path = free_port(), folder / "gateway.sock"
    argv = ["-m", "homeport.server.gateway", "--socket", str(path), "--port", str(port)]
    feeding = threading.Thread(target=feed, args=(path, replica), daemon=True)
    feeding.start()
    with started(argv, port, PATH, folder / "gateway.log") as server:
        protect(path, replica)
        yield server


def feed(path: Path, replica: int) -> None:
    """Public for the question whether it has started."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            tell(path, replica, None)
            return
        time.sleep(0.01)


def protect(path: Path, replica: int) -> None:
    tell(path, replica, frozenset({hashlib.sha256(TOKEN.encode()).hexdigest()}))


def tell(path: Path, replica: int, tokens: frozenset[str] | None) -> None:
    from homeport.server.gateway.wire import packed
    from homeport.server.routing import AccessRule, Route, Target

    route = Route("ws", "ep", (Target("r0", "127.0.0.1", replica),), AccessRule(tokens))
    control = socket.socket(socket.AF_UNIX)
    control.connect(str(path))
    control.sendall(packed({"op": "table", "seq": 1, "routes": [route.to_json()]}))
    # one control plane stays, and takes the records as a server would
    threading.Thread(target=drain, args=(control,), daemon=True).start()
    time.sleep(0.2)


def drain(control: socket.socket) -> None:
    with control:
        while control.recv(1 << 20):
            pass


@contextlib.contextmanager
def nginx(folder: Path, replica: int) -> Generator[Server]:
    port, conf = free_port(), folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=folder, port=port, replica=replica))
    # `started` runs Python, which becomes nginx
    code = f"import os; os.execvp('nginx', ['nginx', '-c', {str(conf)!r}, '-e', 'stderr'])"
    with started(["-c", code], port, PATH, folder / "nginx.log") as server:
        yield server


@contextlib.contextmanager
def proxy(folder: Path, replica: int, kind: str) -> Generator[Server]:
    port = free_port()
    with started(
        ["-m", "bench.gateway", kind, str(port), str(replica)], port, PATH, folder / f"{kind}.log"
    ) as server:
        yield server


def measure() -> list[Figure]:
    rivals: list[tuple[str, float | None, float | None, Callable[..., Any]]] = []
    if shutil.which("nginx"):
        rivals.append(("nginx", 2.5, None, nginx))
    if importlib.util.find_spec("aiohttp"):
        rivals.append(("a proxy of aiohttp", 1 / 2.5, None, partial(proxy, kind="aiohttp")))
    rivals.append(("a proxy of Starlette and httpx", 1 / 20, None, partial(proxy, kind="httpx")))
    figures: list[Figure] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homeport-bench-")))
        replica = stack.enter_context(proxy(folder, 0, "replica")).port
        ours = stack.enter_context(homeport_gateway(folder, replica))
        others = [stack.enter_context(open_(folder, replica)) for *_, open_ in rivals]
        for what, varied in (("the same request", False), ("each with another query", True)):
            sides = [partial(cpu_per_request, server, varied=varied) for server in (ours, *others)]
            for side in sides:
                side()  # the first requests pay for what later ones find done
            own, *theirs = alternate(ROUNDS, *sides)
            for (name, most, least, _), value in zip(rivals, theirs, strict=True):
                figures.append(Figure(f"gateway, {what}", own, "us", value, name, most, least))
    return figures


# --- what is measured beside it, each a program of its own


class Replica(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def replica_program(port: int) -> None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = await asyncio.get_running_loop().create_server(Replica, sock=listener)
    await server.serve_forever()


def httpx_program(port: int, replica: int) -> None:
    import httpx
    import uvicorn
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=100), timeout=None)

    async def forward(asked: Request) -> StreamingResponse:
        headers = [(k, v) for k, v in asked.headers.raw if k not in HOP]
        url = f"http://127.0.0.1:{replica}{asked.url.path}"
        answer = await client.send(client.build_request(asked.method, url, headers=headers), stream=True)
        kept = {k.decode(): v.decode() for k, v in answer.headers.raw if k.lower() not in HOP}
        return StreamingResponse(
            answer.aiter_raw(), answer.status_code, kept, background=BackgroundTask(answer.aclose)
        )

    app = Starlette(routes=[Route("/{path:path}", forward)])
    uvicorn.run(app, port=port, http="httptools", access_log=False, log_level="warning")


async def aiohttp_program(port: int, replica: int) -> None:
    aiohttp: Any = importlib.import_module("aiohttp")
    web: Any = importlib.import_module("aiohttp.web")
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )

    async def forward(asked: Any) -> Any:
        headers = [(k, v) for k, v in asked.headers.items() if k.lower().encode() not in HOP]
        url = f"http://127.0.0.1:{replica}{asked.path_qs}"
        async with session.request(asked.method, url, headers=headers, allow_redirects=False) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.lower().encode() not in HOP}
            out = web.StreamResponse(status=answer.status, headers=kept)
            await out.prepare(asked)
            async for part in answer.content.iter_any():
                await out.write(part)
            await out.write_eof()
            return out

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["replica", port, _]:
            asyncio.run(replica_program(int(port)))
        case ["httpx", port, replica]:
            httpx_program(int(port), int(replica))
        case ["aiohttp", port, replica]:
            asyncio.run(aiohttp_program(int(port), int(replica)))
        case flags:
            show([measure], flags)
