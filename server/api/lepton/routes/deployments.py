"""Endpoints and dev pods of the legacy family: their life, replicas, readiness, ends and events."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....services import endpoints, workloads
from ..merge import merge_patch
from ..translate import jobs as translate_jobs
from ..translate import readiness
from ..wire_deployments import Deployment
from .deps import Authorized, Context
from .logs import live_log
from .serving import change, create, objects_of, show_kinds, show_one, with_token

router = APIRouter()


@router.get("/{ws}/deployments")
async def list_deployments(who: Authorized, ctx: Context) -> Response:
    return JSONResponse(show_kinds(ctx, who, endpoints.BOTH))


@router.post("/{ws}/deployments")
async def create_deployment(deployment: Deployment, who: Authorized, ctx: Context) -> Response:
    workload, token = await create(ctx, who, deployment)
    return JSONResponse(with_token(show_one(ctx, workload), token), 201)


@router.get("/{ws}/deployments/{name}")
async def get_deployment(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who, name)
    return JSONResponse(show_one(ctx, found.workload))


@router.patch("/{ws}/deployments/{name}")
async def update_deployment(
    name: str, patch: dict[str, Any], who: Authorized, ctx: Context, dryrun: bool = False
) -> Response:
    """A JSON merge patch. With `dryrun` the answer is as if it had been applied, and nothing changes."""
    tells_tokens = "api_tokens" in objects_of(patch)
    workload = await change(
        ctx, who, name, endpoints.BOTH, lambda kept: merge_patch(dict(kept), patch),
        tells_tokens=tells_tokens, is_dry_run=dryrun,
    )  # fmt: skip
    return JSONResponse(show_one(ctx, workload))


@router.put("/{ws}/deployments/{name}/restart")
async def restart_deployment(name: str, who: Authorized, ctx: Context) -> Response:
    workload = await endpoints.restart_endpoint(ctx.services, who, name)
    return JSONResponse(show_one(ctx, workload))


@router.delete("/{ws}/deployments/{name}")
async def delete_deployment(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who, name)
    await workloads.delete_workload(ctx.services, who, found.id)
    return JSONResponse({})


@router.get("/{ws}/deployments/{name}/readiness")
async def get_deployment_readiness(name: str, who: Authorized, ctx: Context) -> Response:
    found, attempts = endpoints.get_endpoint(ctx.services, who, name)
    refusal = ctx.refusal(found.id)
    return JSONResponse(readiness.readiness_to_wire(found.workload, attempts, refusal))


@router.get("/{ws}/deployments/{name}/termination")
async def get_deployment_terminations(name: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = endpoints.get_endpoint(ctx.services, who, name)
    return JSONResponse(readiness.terminations_to_wire(attempts))


@router.get("/{ws}/deployments/{name}/replicas")
async def list_deployment_replicas(name: str, who: Authorized, ctx: Context) -> Response:
    found, attempts = endpoints.get_endpoint(ctx.services, who, name)
    return JSONResponse(readiness.replicas_to_wire(found.workload, attempts, ctx.host))


@router.get("/{ws}/deployments/{name}/replicas/{replica_id}/log")
async def get_deployment_log(name: str, replica_id: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = endpoints.get_endpoint(ctx.services, who, name)
    return live_log(ctx, attempts, replica_id)


@router.get("/{ws}/deployments/{name}/events")
async def list_deployment_events(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who, name)
    rows = ctx.services.store.events_of(found.id)
    return JSONResponse([translate_jobs.event_to_wire(r, "Deployment", name) for r in rows])
