"""Endpoints of the new family. The same objects as the legacy one's, without its pods."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....services import endpoints, workloads
from ..merge import merge_patch
from ..translate import jobs as translate_jobs
from ..translate import readiness
from ..translate.http_endpoints import endpoint_to_legacy, endpoint_to_wire
from .deps import Authorized, Context
from .logs import live_log
from .serving import Json, change, create, objects_of, parsed, show, show_one, with_token

router = APIRouter()
ONLY = (endpoints.KIND,)


@router.get("/{ws}/endpoints")
async def list_endpoints(who: Authorized, ctx: Context) -> Response:
    found = endpoints.list_endpoints(ctx.services, who)
    shown = show(ctx, [(f.workload, f.phase) for f in found])
    return JSONResponse([_wire(d, f.workload) for d, f in zip(shown, found, strict=True)])


def _wire(shown: Json, workload: endpoints.Workload) -> Json:
    return endpoint_to_wire(shown, workload.spec.extras.get("component", {}))


@router.post("/{ws}/endpoints")
async def create_endpoint(endpoint: dict[str, Any], who: Authorized, ctx: Context) -> Response:
    workload, token = await create(ctx, who, parsed(endpoint_to_legacy(endpoint)))
    return JSONResponse(with_token(_wire(show_one(ctx, workload), workload), token), 201)


@router.get("/{ws}/endpoints/{name}")
async def get_endpoint(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who, name, ONLY)
    return JSONResponse(_wire(show_one(ctx, found.workload), found.workload))


@router.patch("/{ws}/endpoints/{name}")
async def update_endpoint(
    name: str, patch: dict[str, Any], who: Authorized, ctx: Context, dryrun: bool = False
) -> Response:
    """A JSON merge patch, so it brings all components or none. `dryrun` as for deployments."""
    tells_tokens = "api_tokens" in objects_of(patch)

    def merged(kept: Mapping[str, Any]) -> Json:
        whole = endpoint_to_wire(kept, kept.get("component", {}))
        return endpoint_to_legacy(merge_patch(whole, patch))

    workload = await change(ctx, who, name, ONLY, merged, tells_tokens=tells_tokens, is_dry_run=dryrun)
    return JSONResponse(_wire(show_one(ctx, workload), workload))


@router.put("/{ws}/endpoints/{name}/restart")
async def restart_endpoint(name: str, who: Authorized, ctx: Context) -> Response:
    workload = await endpoints.restart_endpoint(ctx.services, who, name, ONLY)
    return JSONResponse(_wire(show_one(ctx, workload), workload))


@router.delete("/{ws}/endpoints/{name}")
async def delete_endpoint(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who, name, ONLY)
    await workloads.delete_workload(ctx.services, who, found.id)
    return JSONResponse({})


@router.get("/{ws}/endpoints/{name}/replicas")
async def list_endpoint_replicas(name: str, who: Authorized, ctx: Context) -> Response:
    found, attempts = endpoints.get_endpoint(ctx.services, who, name, ONLY)
    return JSONResponse(readiness.replicas_to_wire(found.workload, attempts, ctx.host))


@router.get("/{ws}/endpoints/{name}/replicas/{replica_id}/log")
async def get_endpoint_log(name: str, replica_id: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = endpoints.get_endpoint(ctx.services, who, name, ONLY)
    return live_log(ctx, attempts, replica_id)


@router.get("/{ws}/endpoints/{name}/events")
async def list_endpoint_events(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who, name, ONLY)
    rows = ctx.services.store.events_of(found.id)
    return JSONResponse([translate_jobs.event_to_wire(r, "Endpoint", name) for r in rows])
