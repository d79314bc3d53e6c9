"""The one place where everything is built and wired."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from sqlmodel import Session
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from .. import __version__
from ..runtime.clock import Clock, SteeredClock, SystemClock
from ..runtime.driver import Driver
from ..runtime.mps import find_mps
from .api.admin.routes import AdminContext, make_prometheus
from .api.admin.routes import make_app as make_admin
from .api.lepton import errors as lepton_errors
from .api.lepton import routes as lepton_routes
from .api.lepton.context import LeptonContext
from .api.lepton.rendered import RenderedJobs
from .api.lepton.translate.deployments import environment as lepton_environment
from .api.middleware import CleanPath, GuardBrowsers, LimitBody
from .api.runai.context import RunaiContext
from .api.runai.mounts import prefixes as runai_prefixes
from .api.runai.translate.environment import environment as runai_environment
from .api.runai.translate.environment import is_ours as is_of_runai
from .crashpoints import CrashPoints
from .data_plane import DataPlane
from .domain.billing import check_prices, parse_prices
from .domain.inventory import shapes_of
from .domain.volumes import HostFolders
from .domain.workload import Attempt, Workload
from .levers import Levers
from .machine import choose_ground, remember, simulated_ground, stay_on_runtime
from .metrics import Metrics
from .reconcile.autoscale import ZeroRules
from .reconcile.health import choose_health
from .reconcile.host_ports import HostPorts
from .reconcile.launches import Environment, Machine
from .reconcile.loop import ReconcileLoop
from .services import access, org, registries, volumes
from .services import secrets as secret_service
from .services.applications import Applications, ensure_application
from .services.attempt_logs import LogSources
from .services.context import Services
from .services.exec_sessions import ExecSessions
from .services.jwt_tokens import TokenIssuer
from .serving import RENEW_S, listen, open_tls, run_until_signal
from .settings import Settings
from .store.log_files import LogFiles
from .store.secret_box import SecretBox
from .store.store import Store
from .store.tables import SettingRow
from .tls import ServedTls, trust_values, url_host
from .traffic import Traffic
from .world import load_world

if TYPE_CHECKING:
    from ..runtime.drivers.simulated import SimulatedDriver
    from .certificates import ServerTls

log = logging.getLogger(__name__)
WORKSPACE = "local"


async def identity(store: Store, clock: Clock) -> tuple[str, int]:
    """This data directory's instance id and age; made once, since containers are labelled with it."""

    def make(session: Session) -> None:
        for name, value in (("instance", secrets.token_hex(4)), ("created_at_ms", str(clock.now_ms()))):
            if session.get(SettingRow, name) is None:
                session.add(SettingRow(name=name, value=value))

    await store.write(make)
    return store.setting("instance") or "", int(store.setting("created_at_ms") or 0)


def environment(workload: Workload, attempt: Attempt) -> Environment:
    """What the dialect that a workload was made through gives its containers."""
    return (runai_environment if is_of_runai(workload) else lepton_environment)(workload, attempt)


def make_asgi(settings: Settings, lepton: LeptonContext, runai: RunaiContext, admin: AdminContext) -> ASGIApp:
    dialect = FastAPI(openapi_url=None)
    dialect.state.context = lepton
    dialect.router.routes.extend(lepton_routes.router.routes)
    lepton_errors.install(dialect)
    unknown = JSONResponse(
        {"code": "not_found", "message": "nothing is served here; see /homeport/coverage"}, 404
    )
    root = Router(
        [
            Mount("/api/v2/workspaces", dialect),
            Mount("/api/v1/workspaces", dialect),
            *runai_prefixes(runai),
            Mount("/homeport", make_admin(admin)),
            Route("/metrics", make_prometheus(admin)),
        ],
        redirect_slashes=False,
        default=unknown,
    )
    hosts = own_names(settings)
    services = lepton.services

    def is_token(token: str) -> bool:
        if runai.issuer.bearer(token) is not None:
            return True
        return access.get_caller(services.store, services.clock, token) is not None

    return GuardBrowsers(LimitBody(CleanPath(root)), hosts, is_token)


@dataclass(frozen=True, slots=True)
class Home:
    """Everything of one running server. `note` says what is weaker about its runtime, "" when nothing is."""

    asgi: ASGIApp
    services: Services
    driver: Driver
    loop: ReconcileLoop
    metrics: Metrics
    closing: asyncio.Event
    note: str
    plane: DataPlane
    levers: Levers
    tls: "ServerTls | None" = None


@contextlib.asynccontextmanager
async def open_home(
    settings: Settings, clock: Clock, simulated: "SimulatedDriver | None" = None
) -> AsyncGenerator[Home]:
    """
    All of a server but its socket; the caller starts the loop.

    Args:
        simulated: what it runs on, instead of what the settings choose.
    """
    store = Store(settings.data_dir)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        instance, created_at_ms = await identity(store, clock)
        world = load_world(settings.seed, overcommit=settings.overcommit)
        if simulated is None:
            settings = stay_on_runtime(settings, store)
            ground = await choose_ground(settings, world, instance, clock)
            await remember(store, "runtime", ground.driver.kind)
        else:
            ground = simulated_ground(settings, world, simulated, clock)
        driver, nodes, levers = ground.driver, ground.nodes, ground.levers
        stack.push_async_callback(driver.close)
        if settings.ephemeral:
            stack.push_async_callback(driver.purge)
        prices = parse_prices(settings.prices)
        check_prices(prices, [shape.name for shape in shapes_of(nodes)])
        files = LogFiles(settings.data_dir / "logs")
        woken, closing = asyncio.Event(), asyncio.Event()
        folders = HostFolders((settings.data_dir / "volumes").resolve(), settings.allow_host_path)
        volumes.make_own_folders(folders)
        passphrase = settings.secret_key.get_secret_value() if settings.secret_key else None
        gpus = choose_health(store, clock, nodes, driver, woken.set, lambda: loop.observed, levers.faults)

        def down_nodes() -> frozenset[str]:
            return levers.faults.down_nodes if levers.faults else frozenset()

        services = Services(
            store, clock, nodes, woken.set, folders, SecretBox(settings.data_dir, passphrase),
            gpus.unhealthy, down_nodes,
        )  # fmt: skip
        await org.ensure_defaults(services)
        if settings.seed is not None:
            from .world.seeding import seed_org

            await seed_org(services, world)
        for locked in (secret_service.check_key(services), registries.check_key(services)):
            if locked:
                log.warning("%s", locked)
        before = int(store.setting("gateway_port") or 0)
        traffic = Traffic(clock, woken.set)
        tls = open_tls(settings, clock)
        plane = DataPlane(settings, clock, traffic, before, is_local=driver.kind == "simulated", tls=tls)
        await remember(store, "gateway_port", str(plane.port))
        stack.push_async_callback(plane.close)
        metrics = Metrics(
            store, clock, ground.usage, counters=plane.counters,
            observed=lambda: loop.observed, keep_days=settings.metrics_days,
        )  # fmt: skip
        traffic.subscribe(metrics.add_records)
        machine = Machine(
            store, driver, ground.prober, clock, nodes, instance, files,
            CrashPoints(clock, settings.crash_at), plane.show, environment,
            lambda workload: secret_service.environment(services, workload),
            lambda workload, attempt: volumes.mounts_of(services, workload, attempt),
            lambda workload: registries.login_for(services, workload),
            HostPorts(store, settings.host, is_mapped=driver.kind != "process"),
            traffic=traffic, zero=ZeroRules(settings.warm_zero, settings.wake_on_request),
            ingress_rpm=settings.ingress_rpm,
            gpu_percent=metrics.gpu_percent, gpus=gpus, find_mps=find_mps,
            down_nodes=down_nodes,
            nodes_now=lambda: org.nodes_now(services), org=lambda: org.get_org(services),
        )  # fmt: skip
        loop = ReconcileLoop(machine, woken)
        logs = LogSources(store, clock, files, closing)
        applications = Applications(store)
        lifetime = timedelta(seconds=settings.runai_token_lifetime_s)
        issuer = TokenIssuer(applications, clock, settings.data_dir / "token.key", lifetime)
        refused: Counter[str] = Counter()
        asgi = make_asgi(
            settings,
            LeptonContext(
                services,
                logs,
                RenderedJobs(store),
                plane.url,
                settings.host,
                settings.lepton_new_deployment_api,
                settings.lepton_secure_endpoint_defaults,
                loop.refusal,
                __version__,
                created_at_ms,
                metrics,
                own_names=own_names(settings),
            ),
            RunaiContext(
                services,
                issuer,
                logs,
                metrics,
                plane.url,
                settings.host,
                loop.waiting,
                __version__,
                created_at_ms,
                machine.down_nodes,
                refused,
            ),
            AdminContext(
                services,
                loop,
                logs,
                plane,
                driver.kind,
                __version__,
                {"runai": refused},
                metrics,
                prices,
                ExecSessions(services, driver, instance),
                levers,
            ),
        )
        stack.push_async_callback(loop.close)
        stack.push_async_callback(metrics.close)
        yield Home(asgi, services, driver, loop, metrics, closing, ground.note, plane, levers, tls)


async def serve(settings: Settings) -> None:
    is_movable = settings.testing or settings.runtime == "simulated"
    clock = SteeredClock() if is_movable else SystemClock()
    async with open_home(settings, clock) as home:
        with contextlib.closing(listen(settings)) as listener:
            port, tls = listener.getsockname()[1], home.tls
            scheme, host = ("https", tls.host) if tls else ("http", settings.host)
            base = f"{scheme}://{url_host(host)}:{port}"
            served = ServedTls(tls.files) if tls else None
            credentials = settings.data_dir / "credentials.json"
            token = await access.ensure_token(home.services.store, clock, credentials, WORKSPACE)
            application = await ensure_application(home.services.store, clock, credentials)
            values = credential_values(base, token, application, tls.bundle if tls else None)
            access.write_credentials(credentials, values)
            gc.freeze()  # what was imported and wired stays, so no later collection has to walk it
            gc.enable()  # see cli.serve
            home.loop.start()
            home.metrics.start()
            if home.note:
                print(f"homeport: {home.note}", file=sys.stderr, flush=True)
            ready = (
                f"homeport ready: {base}/api/v2/workspaces/{WORKSPACE} "
                f"({home.driver.kind} runtime, data in {settings.data_dir})"
            )
            renewing = asyncio.create_task(renew(clock, home.plane, served)) if served else None
            try:
                await run_until_signal(home.asgi, listener, home.closing, ready, served)
            finally:
                if renewing is not None:
                    renewing.cancel()


async def renew(clock: Clock, plane: DataPlane, served: ServedTls) -> None:
    """What the certificate's files say is what is served, while the server runs."""
    while True:
        await clock.sleep(RENEW_S)
        await plane.renew()
        served.look()


def own_names(settings: Settings) -> frozenset[str]:
    return frozenset({"localhost", "127.0.0.1", "::1", settings.host, *settings.allow_host})


def credential_values(
    base: str, token: str, application: tuple[str, str], bundle: Path | None = None
) -> dict[str, str]:
    """
    Args:
        application: client id and secret for Run:ai's API.
        bundle: what clients have to trust, where they would not by themselves.
    """
    values = {
        "LEPTON_WORKSPACE_ID": WORKSPACE,
        "LEPTON_WORKSPACE_TOKEN": token,
        "LEPTON_WORKSPACE_URL": f"{base}/api/v2/workspaces/{WORKSPACE}",
        "LEPTON_API_TOKEN": token,
        "RUNAI_BASE_URL": base,
        "RUNAI_CLIENT_ID": application[0],
        "RUNAI_CLIENT_SECRET": application[1],
    }
    return values | trust_values(bundle)


def run(settings: Settings) -> None:
    logging.basicConfig(
        level=os.environ.get("LOGLEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    asyncio.run(serve(settings))
