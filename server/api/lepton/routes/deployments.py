"""Endpoints of the legacy family: their life, replicas, readiness, ends and events."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from ....domain.workload import Workload, WorkloadSpec
from ....errors import Invalid
from ....services import endpoints, secrets, volumes, workloads
from ....services.access import Caller
from ..context import LeptonContext
from ..merge import merge_patch
from ..translate import deployments as translate
from ..translate import jobs as translate_jobs
from ..wire_deployments import Deployment
from .deps import Authorized, Context
from .logs import live_log

router = APIRouter()


def _spec(ctx: LeptonContext, who: Caller, deployment: Deployment) -> WorkloadSpec:
    asked = deployment.spec.resource_requirement
    name = asked.resource_shape if asked else None
    if not name:
        raise Invalid("spec.resource_requirement.resource_shape", "an endpoint needs a shape")
    shape = workloads.get_shape(ctx.services, name, field="spec.resource_requirement.resource_shape")
    spec = translate.to_spec(deployment, shape)
    volumes.check_mounts(ctx.services, who, spec.node_groups, spec.mounts)
    secrets.check_secrets(ctx.services, who.workspace, [name for _, name in spec.secret_env])
    return spec


def _shown(ctx: LeptonContext, workload: Workload, status: int = 200) -> Response:
    found = ctx.services.store.reads.get(workload.workspace, workload.id)
    phase = found.phase if found else None
    attempts = ctx.services.store.attempts_of(workload.id)
    assert phase is not None
    return JSONResponse(translate.deployment_to_wire(workload, phase, attempts, ctx.gateway_url), status)


@router.get("/{ws}/deployments")
async def list_deployments(who: Authorized, ctx: Context) -> Response:
    found = endpoints.list_endpoints(ctx.services, who.workspace)
    attempts = ctx.services.store.reads.attempts([f.id for f in found])
    return JSONResponse(
        [translate.deployment_to_wire(f.workload, f.phase, attempts[f.id], ctx.gateway_url) for f in found]
    )


@router.post("/{ws}/deployments")
async def create_deployment(deployment: Deployment, who: Authorized, ctx: Context) -> Response:
    spec = _spec(ctx, who, deployment)
    workload = await endpoints.create_endpoint(
        ctx.services, workspace=who.workspace, name=translate.deployment_name(deployment), owner=who.owner,
        spec=spec, warnings=translate.warnings_of(deployment.spec),
    )  # fmt: skip
    return _shown(ctx, workload, 201)


@router.get("/{ws}/deployments/{name}")
async def get_deployment(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who.workspace, name)
    return _shown(ctx, found.workload)


@router.patch("/{ws}/deployments/{name}")
async def update_deployment(
    name: str, patch: dict[str, Any], who: Authorized, ctx: Context, dryrun: bool = False
) -> Response:
    """A JSON merge patch. With `dryrun` the answer is as if it had been applied, and nothing changes."""
    if not isinstance(patch.get("spec", {}), dict) or not isinstance(patch.get("metadata", {}), dict):
        raise Invalid("body", "metadata and spec must be objects")

    def make(old: WorkloadSpec) -> WorkloadSpec:
        whole = merge_patch(dict(old.extras), patch)
        if keeps_tokens := "api_tokens" not in patch.get("spec", {}):
            whole["spec"].pop("api_tokens", None)  # only their masks are in it
        new = _spec(ctx, who, _parsed(whole))
        return translate.with_tokens_of(new, old) if keeps_tokens else new

    workload = await endpoints.change_endpoint(ctx.services, who.workspace, name, make, is_dry_run=dryrun)
    return _shown(ctx, workload)


def _parsed(whole: dict[str, Any]) -> Deployment:
    try:
        return Deployment.model_validate(whole)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(".".join(map(str, first["loc"])), first["msg"]) from error


@router.put("/{ws}/deployments/{name}/restart")
async def restart_deployment(name: str, who: Authorized, ctx: Context) -> Response:
    return _shown(ctx, await endpoints.restart_endpoint(ctx.services, who.workspace, name))


@router.delete("/{ws}/deployments/{name}")
async def delete_deployment(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who.workspace, name)
    await workloads.delete_workload(ctx.services, who.workspace, found.id)
    return JSONResponse({})


@router.get("/{ws}/deployments/{name}/readiness")
async def get_deployment_readiness(name: str, who: Authorized, ctx: Context) -> Response:
    found, attempts = endpoints.get_endpoint(ctx.services, who.workspace, name)
    refusal = ctx.refusal(found.id)
    return JSONResponse(translate.readiness_to_wire(found.workload, attempts, refusal))


@router.get("/{ws}/deployments/{name}/termination")
async def get_deployment_terminations(name: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = endpoints.get_endpoint(ctx.services, who.workspace, name)
    return JSONResponse(translate.terminations_to_wire(attempts))


@router.get("/{ws}/deployments/{name}/replicas")
async def list_deployment_replicas(name: str, who: Authorized, ctx: Context) -> Response:
    found, attempts = endpoints.get_endpoint(ctx.services, who.workspace, name)
    live = sorted((a for a in attempts if a.is_live), key=lambda a: a.index)
    return JSONResponse([translate.replica_to_wire(found.workload, a) for a in live])


@router.get("/{ws}/deployments/{name}/replicas/{replica_id}/log")
async def get_deployment_log(name: str, replica_id: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = endpoints.get_endpoint(ctx.services, who.workspace, name)
    return live_log(ctx, attempts, replica_id)


@router.get("/{ws}/deployments/{name}/events")
async def list_deployment_events(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who.workspace, name)
    rows = ctx.services.store.events_of(found.id)
    return JSONResponse([translate_jobs.event_to_wire(r, "Deployment", name) for r in rows])
