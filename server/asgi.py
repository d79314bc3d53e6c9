"""The control plane's HTTP: both dialects, Homeport's own API, and what stands before them."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from .. import __version__
from .api.admin.health import health
from .api.first_use import OnFirstUse
from .api.middleware import CleanPath, GuardBrowsers, LimitBody
from .api.runai.context import RunaiContext
from .api.runai.ids import is_ours as is_of_runai
from .api.runai.mounts import prefixes as runai_prefixes
from .data_plane import DataPlane
from .domain.exposures import is_loopback
from .domain.workload import Attempt, Workload
from .levers import Levers
from .metrics import Metrics
from .reconcile.launches import Environment, Machine
from .reconcile.loop import ReconcileLoop
from .services import access
from .services.applications import Applications
from .services.attempt_logs import LogSources
from .services.context import Services
from .services.identity_providers import FILE, IdentityProviders
from .services.jwt_tokens import KEY_FILE, TokenIssuer
from .settings import Settings

if TYPE_CHECKING:
    from .api.admin.context import AdminContext


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What requests are answered from.

    Args:
        prices: of shapes, for bills.
        instance: whose containers carry it as a label.
    """

    settings: Settings
    services: Services
    loop: ReconcileLoop
    machine: Machine
    logs: LogSources
    plane: DataPlane
    metrics: Metrics
    prices: Mapping[str, Decimal]
    levers: Levers
    instance: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Http:
    """
    Args:
        app: what answers every request.
        build: imports what is imported at its first use and nearly every client uses; a request that
            comes meanwhile waits for it, `/homeport/health` does not.
    """

    app: ASGIApp
    build: Callable[[], None]


def environment(workload: Workload, attempt: Attempt) -> Environment:
    """What the dialect that a workload was made through gives its containers."""
    # Imported here, since no start needs them.
    if is_of_runai(workload):
        from .api.runai.translate.environment import environment as runai_environment

        return runai_environment(workload, attempt)
    from .api.lepton.translate.deployments import environment as lepton_environment

    return lepton_environment(workload, attempt)


def make_asgi(parts: Parts) -> Http:
    """FastAPI, the dialects and their models are a third of a start: they are left to the first request."""
    refused: Counter[str] = Counter()
    settings, services = parts.settings, parts.services
    lifetime = timedelta(seconds=settings.runai_token_lifetime_s)
    key = settings.data_dir / KEY_FILE
    providers = IdentityProviders(settings.data_dir / FILE)
    issuer = TokenIssuer(Applications(services.store), services.clock, key, lifetime, providers)
    runai = RunaiContext(
        services, issuer, parts.logs, parts.metrics, parts.plane.url, settings.told_host, parts.loop.waiting,
        __version__, parts.created_at_ms, parts.machine.down_nodes, refused,
        own_names=own_names(settings), is_local=is_loopback(settings.host),
    )  # fmt: skip
    lepton = OnFirstUse(lambda: _make_lepton(parts))
    admin, prometheus = _own_api(parts, refused)

    async def get_health(_request: Request) -> Response:
        return await health(services, parts.loop, parts.plane)

    look = Route("/homeport/health", get_health)
    look.methods = {"GET"}  # of what it is asked otherwise, HEAD too, the API below makes the refusal
    unknown = JSONResponse(
        {"code": "not_found", "message": "nothing is served here; see /homeport/coverage"}, 404
    )
    root = Router(
        [
            Mount("/api/v2/workspaces", lepton),
            Mount("/api/v1/workspaces", lepton),
            *runai_prefixes(runai),
            look,
            Mount("/homeport", admin),
            Route("/metrics", prometheus),
        ],
        redirect_slashes=False,
        default=unknown,
    )
    hosts = own_names(settings)

    def is_token(token: str) -> bool:
        if issuer.bearer(token) is not None:
            return True
        return access.get_caller(services.store, services.clock, token) is not None

    def build() -> None:
        for api in (lepton, admin):
            api.build()

    return Http(GuardBrowsers(LimitBody(CleanPath(root)), hosts, is_token), build)


def _make_lepton(parts: Parts) -> ASGIApp:
    from .api.lepton.app import make_app
    from .api.lepton.context import LeptonContext
    from .api.lepton.rendered import RenderedJobs

    settings, services = parts.settings, parts.services
    context = LeptonContext(
        services, parts.logs, RenderedJobs(services.store), parts.plane.url, settings.told_host,
        settings.lepton_new_deployment_api, settings.lepton_secure_endpoint_defaults, parts.loop.refusal,
        __version__, parts.created_at_ms, parts.metrics, own_names=own_names(settings),
    )  # fmt: skip
    return make_app(context)


def _own_api(parts: Parts, refused: Counter[str]) -> tuple[OnFirstUse, OnFirstUse]:
    """/homeport and /metrics."""

    @cache
    def context() -> "AdminContext":
        from .api.admin.context import AdminContext
        from .services.exec_sessions import ExecSessions

        services, driver = parts.services, parts.machine.driver
        return AdminContext(
            services, parts.loop, parts.logs, parts.plane, driver.kind, __version__, {"runai": refused},
            parts.metrics, parts.prices, ExecSessions(services, driver, parts.instance), parts.levers,
        )  # fmt: skip

    def make_api() -> ASGIApp:
        from .api.admin.routes import make_app

        return make_app(context())

    def make_scrape() -> ASGIApp:
        from .api.admin.routes import make_prometheus

        return make_prometheus(context())

    return OnFirstUse(make_api), OnFirstUse(make_scrape)


def own_names(settings: Settings) -> frozenset[str]:
    return frozenset({"localhost", "127.0.0.1", "::1", settings.host, *settings.allow_host})
