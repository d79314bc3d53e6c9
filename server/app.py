"""The one place where everything is built and wired."""

import asyncio
import contextlib
import logging
import os
import platform
import secrets
import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI
from sqlmodel import Session
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from .. import __version__
from ..runtime import inventory
from ..runtime.clock import Clock, SystemClock
from ..runtime.driver import Driver
from ..runtime.errors import RuntimeUnavailable
from .api.admin.routes import AdminContext
from .api.admin.routes import make_app as make_admin
from .api.lepton import errors as lepton_errors
from .api.lepton import routes as lepton_routes
from .api.lepton.context import LeptonContext
from .api.lepton.operations import OPERATIONS
from .api.lepton.translate.jobs import job_environment
from .api.middleware import CleanPath, GuardBrowsers, LimitBody
from .crashpoints import CrashPoints
from .domain.inventory import HostNode, NodeGpu
from .errors import Invalid
from .reconcile.loop import Machine, ReconcileLoop
from .services import access
from .services.attempt_logs import LogSources
from .services.workloads import Services
from .settings import Settings
from .store.sealed_logs import SealedLogs
from .store.store import Store
from .store.tables import SettingRow

log = logging.getLogger(__name__)
WORKSPACE = "local"
GRACE_S = 3


async def choose_driver(settings: Settings, instance: str, clock: Clock) -> tuple[Driver, str]:
    """The driver, and a line saying what is weaker about it ("" when nothing is)."""
    from ..runtime.drivers.process import ProcessDriver

    why = ""
    if settings.runtime in ("auto", "docker"):
        from ..runtime.drivers.docker import DockerDriver

        docker = DockerDriver(instance, clock)
        try:
            await docker.ping()
            return docker, ""
        except RuntimeUnavailable as error:
            if settings.runtime == "docker":
                log.warning("%s; starting all the same, jobs wait until it does", error)
                return docker, str(error)
            why = str(error)
            await docker.close()
    note = "process runtime: no images, no isolation, limits are not enforced" + (f" ({why})" if why else "")
    return ProcessDriver(instance, clock, settings.data_dir / "processes"), note


def local_node(settings: Settings) -> HostNode:
    try:
        devices = inventory.choose_devices(settings.gpus)
    except ValueError as error:
        raise Invalid("--gpus", str(error)) from error
    return HostNode(
        id=platform.node() or "local",
        node_group="default",
        cpu_cores=float(inventory.host_cpu_cores()),
        memory_mib=inventory.host_memory_mib(),
        gpus=tuple(NodeGpu(d.uuid, d.product, d.memory_mib, d.is_simulated) for d in devices),
        overcommit=settings.overcommit,
        driver_version=devices[0].driver_version if devices else "",
        cuda_version=devices[0].cuda_version if devices else "",
    )


async def identity(store: Store, clock: Clock) -> tuple[str, int]:
    """This data directory's instance id and age; made once, since containers are labelled with it."""

    def make(session: Session) -> None:
        for name, value in (("instance", secrets.token_hex(4)), ("created_at_ms", str(clock.now_ms()))):
            if session.get(SettingRow, name) is None:
                session.add(SettingRow(name=name, value=value))

    await store.write(make)
    return store.setting("instance") or "", int(store.setting("created_at_ms") or 0)


def make_asgi(settings: Settings, lepton: LeptonContext, admin: AdminContext) -> ASGIApp:
    dialect = FastAPI(openapi_url=None)
    dialect.state.context = lepton
    dialect.include_router(lepton_routes.router)
    lepton_errors.install(dialect)
    root = FastAPI(title="Homeport", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    root.mount("/api/v2/workspaces", dialect)
    root.mount("/api/v1/workspaces", dialect)
    root.mount("/homeport", make_admin(admin))

    async def unknown(*_: object) -> JSONResponse:
        return JSONResponse(
            {"code": "not_found", "message": "nothing is served here; see /homeport/coverage"}, 404
        )

    root.add_exception_handler(404, unknown)
    hosts = frozenset({"localhost", "127.0.0.1", "::1", settings.host, *settings.allow_host})
    services = lepton.services

    def is_token(token: str) -> bool:
        return access.get_caller(services.store, services.clock, token) is not None

    return GuardBrowsers(LimitBody(CleanPath(root)), hosts, is_token)


async def serve(settings: Settings) -> None:
    clock = SystemClock()
    store = Store(settings.data_dir)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        instance, created_at_ms = await identity(store, clock)
        driver, note = await choose_driver(settings, instance, clock)
        stack.push_async_callback(driver.close)
        nodes = (local_node(settings),)
        sealed = SealedLogs(settings.data_dir / "logs")
        crash = CrashPoints(clock, settings.crash_at)
        loop = ReconcileLoop(Machine(store, driver, clock, nodes, instance, sealed, crash, job_environment))
        closing = asyncio.Event()
        services = Services(store, clock, nodes, loop.poke)
        logs = LogSources(store, driver, clock, sealed, instance, closing)
        rows = tuple((o.area, o.method, o.path, o.test) for o in OPERATIONS)
        app = make_asgi(
            settings,
            LeptonContext(services, logs, __version__, created_at_ms),
            AdminContext(services, loop, driver.kind, __version__, rows),
        )
        listener = listen(settings)
        stack.callback(listener.close)
        base = f"http://{settings.host}:{listener.getsockname()[1]}"
        credentials = settings.data_dir / "credentials.json"
        token = await access.ensure_token(store, clock, credentials, WORKSPACE)
        access.write_credentials(credentials, credential_values(base, token))
        loop.start()
        stack.push_async_callback(loop.close)
        if note:
            print(f"homeport: {note}", file=sys.stderr, flush=True)
        await _run_until_signal(
            app,
            listener,
            closing,
            f"homeport ready: {base}/api/v2/workspaces/{WORKSPACE} "
            f"({driver.kind} runtime, data in {settings.data_dir})",
        )
        if settings.ephemeral:
            await remove_all(driver)


def credential_values(base: str, token: str) -> dict[str, str]:
    return {
        "LEPTON_WORKSPACE_ID": WORKSPACE,
        "LEPTON_WORKSPACE_TOKEN": token,
        "LEPTON_WORKSPACE_URL": f"{base}/api/v2/workspaces/{WORKSPACE}",
        "LEPTON_API_TOKEN": token,
    }


def listen(settings: Settings) -> socket.socket:
    """A socket of our own, with its protocol named: asyncio sets TCP_NODELAY only then."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise Invalid(
            "--port", f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from error
    listener.listen(1024)
    return listener


async def _run_until_signal(
    app: ASGIApp, listener: socket.socket, closing: asyncio.Event, ready: str
) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http="httptools",
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(ready, flush=True)

        def handle_exit(self, sig: int, frame: object) -> None:
            closing.set()  # open log streams end now, not at the graceful timeout
            self.should_exit = True

        def install_signal_handlers(self) -> None:  # older uvicorn
            return

        @contextlib.contextmanager
        def capture_signals(self):  # type: ignore[no-untyped-def]
            yield  # uvicorn would raise the signal again at the end, which is no clean exit

    server = Server(config)
    running = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(sig, server.handle_exit, sig, None)
    await server.serve(sockets=[listener])


async def remove_all(driver: Driver) -> None:
    for seen in await driver.list_owned():
        await driver.remove(seen.handle)


def run(settings: Settings) -> None:
    logging.basicConfig(
        level=os.environ.get("LOGLEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    asyncio.run(serve(settings))
