"""The one place where everything is built and wired."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlmodel import Session
from starlette.types import ASGIApp

from ..runtime.clock import Clock
from ..runtime.driver import Driver
from ..runtime.mps import find_mps
from .asgi import Parts, environment, make_asgi
from .crashpoints import CrashPoints
from .data_plane import DataPlane
from .domain.billing import check_prices, parse_prices
from .domain.exposures import is_loopback
from .domain.inventory import shapes_of
from .domain.volumes import HostFolders
from .levers import Levers, open_clock
from .machine import Ground, choose_ground, remember, simulated_ground, stay_on_runtime
from .metrics import Metrics
from .reconcile.autoscale import ZeroRules
from .reconcile.health import GpuHealth, choose_health
from .reconcile.host_ports import HostPorts
from .reconcile.launches import Machine
from .reconcile.loop import ReconcileLoop
from .services import access, exposures, org, registries, volumes
from .services import secrets as secret_service
from .services.applications import ensure_application
from .services.attempt_logs import LogSources
from .services.context import Services
from .services.jwt_tokens import KEY_FILE
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


@dataclass(frozen=True, slots=True)
class Home:
    """
    Everything of one running server.

    Args:
        build: imports what requests would otherwise have to wait for; see `asgi.Http`.
        note: what is weaker about its runtime, "" when nothing is.
    """

    asgi: ASGIApp
    build: Callable[[], None]
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
        world = load_world(settings.seed, overcommit=settings.world_overcommit)
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
        woken, closing = asyncio.Event(), asyncio.Event()
        gpus = choose_health(store, clock, nodes, driver, woken.set, lambda: loop.observed, levers.faults)
        services = make_services(settings, store, clock, ground, gpus, woken.set)
        await org.ensure_defaults(services)
        if settings.seed is not None:
            from .world.seeding import seed_org

            await seed_org(services, world)
        warn_of_locked(services)
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
        machine = make_machine(settings, services, ground, plane, traffic, metrics, gpus, instance)
        loop = ReconcileLoop(machine, woken)
        logs = LogSources(store, clock, machine.logs, closing)
        parts = Parts(
            settings, services, loop, machine, logs, plane, metrics, prices, levers, instance, created_at_ms
        )
        http = make_asgi(parts)
        stack.push_async_callback(loop.close)
        stack.push_async_callback(metrics.close)
        yield Home(
            http.app, http.build, services, driver, loop, metrics, closing, ground.note, plane, levers, tls
        )


def make_services(
    settings: Settings, store: Store, clock: Clock, ground: Ground, gpus: GpuHealth, wake: Callable[[], None]
) -> Services:
    folders = HostFolders((settings.data_dir / "volumes").resolve(), settings.allow_host_path)
    volumes.make_own_folders(folders)
    passphrase = settings.secret_key.get_secret_value() if settings.secret_key else None
    faults = ground.levers.faults

    def down_nodes() -> frozenset[str]:
        return faults.down_nodes if faults else frozenset()

    return Services(
        store, clock, ground.nodes, wake, folders, SecretBox(settings.data_dir, passphrase),
        gpus.unhealthy, down_nodes, ground.driver.refusal,
    )  # fmt: skip


def warn_of_locked(services: Services) -> None:
    """What was locked with another key; all else works."""
    for locked in (secret_service.check_key(services), registries.check_key(services)):
        if locked:
            log.warning("%s", locked)


def make_machine(
    settings: Settings,
    services: Services,
    ground: Ground,
    plane: DataPlane,
    traffic: Traffic,
    metrics: Metrics,
    gpus: GpuHealth,
    instance: str,
) -> Machine:
    """What the loop acts on, and what it asks the services."""
    store, clock, kind = services.store, services.clock, ground.driver.kind
    return Machine(
        store, ground.driver, ground.prober, clock, services.nodes, instance,
        LogFiles(settings.data_dir / "logs"), CrashPoints(clock, settings.crash_at), plane.show, environment,
        lambda workload: secret_service.environment(services, workload),
        lambda workload, attempt: volumes.mounts_of(services, workload, attempt),
        lambda workload, image: registries.logins_for(services, workload, image),
        HostPorts(store, settings.host, is_mapped=kind != "process"),
        traffic=traffic, zero=ZeroRules(settings.warm_zero, settings.wake_on_request),
        ingress_rpm=settings.ingress_rpm,
        gpu_percent=metrics.gpu_percent, gpus=gpus, find_mps=find_mps,
        down_nodes=services.down_nodes,
        secret_values=lambda workload: secret_service.volumes(services, workload),
        nodes_now=lambda: org.nodes_now(services), org=lambda: org.get_org(services),
        known=exposures.loader(services, settings.data_dir / KEY_FILE, is_local=is_loopback(settings.host)),
    )  # fmt: skip


async def serve(settings: Settings) -> None:
    is_movable = settings.testing or settings.runtime == "simulated"
    clock = open_clock(settings.data_dir, is_movable=is_movable)
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
            obstacle = await home.plane.obstacle()
            home.loop.start()
            home.metrics.start()
            if home.note:
                print(f"homeport: {home.note}", file=sys.stderr, flush=True)
            tasks = [asyncio.create_task(renew(clock, home.plane, served))] if served else []

            def when_ready() -> None:
                ready = (
                    f"homeport ready: {base}/api/v2/workspaces/{WORKSPACE} "
                    f"({home.driver.kind} runtime, data in {settings.data_dir})"
                )
                if obstacle and not home.plane.is_live:  # it may have been freed meanwhile
                    ready += f"; but {obstacle}"
                print(ready, flush=True)
                tasks.append(asyncio.create_task(build_rest(home)))

            try:
                await run_until_signal(home.asgi, listener, home.closing, when_ready, served)
            finally:
                for task in tasks:
                    task.cancel()


async def build_rest(home: Home) -> None:
    """While the clients are still starting, and in a thread, so that the server answers meanwhile."""
    try:
        await asyncio.to_thread(home.build)
    except Exception as error:  # a request that needs it tries again, and is told
        log.error("an API cannot be imported", exc_info=error)
    settle_memory()


def settle_memory() -> None:
    """Once all is imported and wired, which stays: no later collection has to walk it."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # requests and passes leave few cycles, and thousands of rows that stay
    gc.enable()  # see cli.serve


async def renew(clock: Clock, plane: DataPlane, served: ServedTls) -> None:
    """What the certificate's files say is what is served, while the server runs."""
    while True:
        await clock.sleep(RENEW_S)
        await plane.renew()
        served.look()


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
