"""`python -m homeport.server.gateway`: the gateway as a program of its own, fed over a unix socket."""

import argparse
import asyncio
import gc
import importlib
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ...runtime.clock import SystemClock
from ..tls import ServedTls, TlsFiles
from .feed import AlreadyServed, Feed
from .listening import open_listener


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m homeport.server.gateway", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="where the control plane connects")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME")
    parser.add_argument("--tls-cert", type=Path, help="PEM; serves HTTPS only")
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--orphan-s", type=float, default=60.0, help="leave after so long on its own")
    parser.add_argument("--drain-s", type=float, default=3.0, help="what open requests get on SIGTERM")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    feed = Feed(SystemClock(), hosts=[*options.allow_host, options.host], orphan_s=options.orphan_s)
    feed.drain_s = options.drain_s
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, feed.leaving.set)
    tls = ServedTls(TlsFiles(options.tls_cert, options.tls_key)) if options.tls_cert else None
    port = await feed.gateway.listen(open_listener(options.host, options.port), tls=tls)
    cert = str(options.tls_cert) if tls else None
    await feed.listen(options.socket, (options.host, port), cert)
    gc.collect()
    gc.freeze()  # what was imported stays, so no later collection has to walk it
    gc.set_threshold(20_000, 20, 50)  # requests leave no cycles; records that wait are many
    await feed.leaving.wait()
    await feed.gateway.close(feed.drain_s)
    await feed.close()


def main(argv: list[str] | None = None) -> None:
    logging.basicConfig(
        level=os.environ.get("LOGLEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    options = arguments(argv)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(options))
    except (AlreadyServed, OSError) as error:
        sys.exit(f"homeport gateway: {error}")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: a quarter less CPU per request."""
    try:
        return importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return None


if __name__ == "__main__":
    main()
