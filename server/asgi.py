"""The control plane's HTTP: both dialects, Homeport's own API, and what stands before them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from .. import __version__
from .api.admin.routes import AdminContext, make_prometheus
from .api.admin.routes import make_app as make_admin
from .api.lepton import errors as lepton_errors
from .api.lepton import routes as lepton_routes
from .api.lepton.context import LeptonContext
from .api.lepton.rendered import RenderedJobs
from .api.lepton.translate.deployments import environment as lepton_environment
from .api.middleware import CleanPath, GuardBrowsers, LimitBody
from .api.runai.context import RunaiContext
from .api.runai.ids import is_ours as is_of_runai
from .api.runai.mounts import prefixes as runai_prefixes
from .data_plane import DataPlane
from .domain.workload import Attempt, Workload
from .levers import Levers
from .metrics import Metrics
from .reconcile.launches import Environment, Machine
from .reconcile.loop import ReconcileLoop
from .services import access
from .services.applications import Applications
from .services.attempt_logs import LogSources
from .services.context import Services
from .services.exec_sessions import ExecSessions
from .services.jwt_tokens import TokenIssuer
from .settings import Settings


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


def environment(workload: Workload, attempt: Attempt) -> Environment:
    """What the dialect that a workload was made through gives its containers."""
    if not is_of_runai(workload):
        return lepton_environment(workload, attempt)
    from .api.runai.translate.environment import environment as runai_environment  # costs start-up time

    return runai_environment(workload, attempt)


def make_asgi(parts: Parts) -> ASGIApp:
    refused: Counter[str] = Counter()
    settings, services = parts.settings, parts.services
    lepton = LeptonContext(
        services, parts.logs, RenderedJobs(services.store), parts.plane.url, settings.host,
        settings.lepton_new_deployment_api, settings.lepton_secure_endpoint_defaults, parts.loop.refusal,
        __version__, parts.created_at_ms, parts.metrics, own_names=own_names(settings),
    )  # fmt: skip
    lifetime = timedelta(seconds=settings.runai_token_lifetime_s)
    key = settings.data_dir / "token.key"
    issuer = TokenIssuer(Applications(services.store), services.clock, key, lifetime)
    runai = RunaiContext(
        services, issuer, parts.logs, parts.metrics, parts.plane.url, settings.host, parts.loop.waiting,
        __version__, parts.created_at_ms, parts.machine.down_nodes, refused,
    )  # fmt: skip
    driver = parts.machine.driver
    admin = AdminContext(
        services, parts.loop, parts.logs, parts.plane, driver.kind, __version__, {"runai": refused},
        parts.metrics, parts.prices, ExecSessions(services, driver, parts.instance), parts.levers,
    )  # fmt: skip
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

    def is_token(token: str) -> bool:
        if runai.issuer.bearer(token) is not None:
            return True
        return access.get_caller(services.store, services.clock, token) is not None

    return GuardBrowsers(LimitBody(CleanPath(root)), hosts, is_token)


def own_names(settings: Settings) -> frozenset[str]:
    return frozenset({"localhost", "127.0.0.1", "::1", settings.host, *settings.allow_host})
