"""The one place where everything is built and wired."""

import asyncio
import contextlib
import logging
import os
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
from ..runtime.clock import Clock, SystemClock
from .api.admin.routes import AdminContext
from .api.admin.routes import make_app as make_admin
from .api.lepton import errors as lepton_errors
from .api.lepton import routes as lepton_routes
from .api.lepton.context import LeptonContext
from .api.lepton.operations import OPERATIONS
from .api.lepton.rendered import RenderedJobs
from .api.lepton.translate.jobs import job_environment
from .api.middleware import CleanPath, GuardBrowsers, LimitBody
from .crashpoints import CrashPoints
from .domain.volumes import HostFolders
from .errors import Invalid
from .machine import choose_driver, local_node
from .reconcile.launches import Machine
from .reconcile.loop import ReconcileLoop
from .services import access, volumes
from .services import secrets as secret_service
from .services.attempt_logs import LogSources
from .services.workloads import Services
from .settings import Settings
from .store.log_files import LogFiles
from .store.secret_box import SecretBox
from .store.store import Store
from .store.tables import SettingRow

log = logging.getLogger(__name__)
WORKSPACE = "local"
GRACE_S = 3


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
        files = LogFiles(settings.data_dir / "logs")
        crash = CrashPoints(clock, settings.crash_at)
        woken, closing = asyncio.Event(), asyncio.Event()
        folders = HostFolders((settings.data_dir / "volumes").resolve(), settings.allow_host_path)
        volumes.make_own_folders(folders)
        passphrase = settings.secret_key.get_secret_value() if settings.secret_key else None
        services = Services(store, clock, nodes, woken.set, folders, SecretBox(settings.data_dir, passphrase))
        if locked := secret_service.check_key(services):
            log.warning("%s", locked)
        machine = Machine(
            store, driver, clock, nodes, instance, files, crash, job_environment,
            lambda workload: secret_service.environment(services, workload),
            lambda workload, attempt: volumes.mounts_of(services, workload, attempt),
        )  # fmt: skip
        loop = ReconcileLoop(machine, woken)
        logs = LogSources(store, clock, files, closing)
        rows = tuple((o.area, o.method, o.path, o.test) for o in OPERATIONS)
        app = make_asgi(
            settings,
            LeptonContext(services, logs, RenderedJobs(store), __version__, created_at_ms),
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
            await driver.purge()


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


def run(settings: Settings) -> None:
    logging.basicConfig(
        level=os.environ.get("LOGLEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    asyncio.run(serve(settings))
