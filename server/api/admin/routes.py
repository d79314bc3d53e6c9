"""/homeport/...: health, info, coverage and why."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from ...domain.workload import Phase
from ...errors import HomeportError, NotFound, Unauthorized
from ...reconcile.loop import ReconcileLoop
from ...services import access
from ...services.workloads import Services


@dataclass(frozen=True, slots=True)
class AdminContext:
    services: Services
    loop: ReconcileLoop
    runtime: str
    version: str
    operations: tuple[tuple[str, str, str, str | None], ...]  # area, method, path, test


router = APIRouter()


async def context(request: Request) -> AdminContext:
    return request.app.state.context


Context = Annotated[AdminContext, Depends(context)]


async def bearer(request: Request, ctx: Context) -> access.Caller:
    token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    found = access.get_caller(ctx.services.store, ctx.services.clock, token) if token else None
    if found is None:
        raise Unauthorized(
            "the bearer token is missing, unknown or expired; `homeport env` prints a valid one"
        )
    return found


@router.get("/health")
async def get_health(ctx: Context) -> Response:
    reasons = list(ctx.loop.reasons)
    return JSONResponse({"status": "degraded" if reasons else "ok", "reasons": reasons})


@router.get("/info")
async def get_info(ctx: Context, _who: Annotated[access.Caller, Depends(bearer)]) -> Response:
    nodes = [
        {
            "id": n.id,
            "gpus": [{"uuid": g.uuid, "product": g.product, "simulated": g.is_simulated} for g in n.gpus],
        }
        for n in ctx.services.nodes
    ]
    return JSONResponse({"version": ctx.version, "runtime": ctx.runtime, "nodes": nodes})


@router.get("/coverage")
async def get_coverage(ctx: Context) -> Response:
    served = Counter(bool(test) for *_, test in ctx.operations)
    rows = [
        {"area": area, "method": method, "path": path, "test": test}
        for area, method, path, test in ctx.operations
    ]
    return JSONResponse({"lepton": {"served": served[True], "of": len(rows), "operations": rows}})


@router.get("/workloads")
async def list_workloads(ctx: Context, who: Annotated[access.Caller, Depends(bearer)]) -> Response:
    found = ctx.services.store.list_workloads(who.workspace, archived=False)
    return JSONResponse(
        [{"id": w.id, "kind": w.kind, "phase": p.value, "shape": w.spec.shape} for w, p in found]
    )


@router.get("/why/{workload_id}")
async def explain(workload_id: str, ctx: Context, who: Annotated[access.Caller, Depends(bearer)]) -> Response:
    """Why a workload is where it is: the scheduler's reasons while it is queued, else its last event."""
    pairs = ctx.services.store.list_workloads(who.workspace, archived=None)
    found = next(((w, p) for w, p in pairs if workload_id in (w.id, w.name)), None)
    if found is None:
        raise NotFound("workload", workload_id)
    workload, phase = found
    refusal = ctx.loop.unplaced.get(workload.id)
    events = ctx.services.store.events_of(workload.id)
    reasons = list(refusal.reasons) if refusal and phase is Phase.QUEUED else [events[-1].message]
    return JSONResponse({"id": workload.id, "phase": phase.value, "reasons": reasons})


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HomeportError)
    return JSONResponse({"code": error.code, "message": str(error)}, error.status)


def make_app(ctx: AdminContext) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.context = ctx
    app.include_router(router)
    app.add_exception_handler(HomeportError, _refused)
    return app
