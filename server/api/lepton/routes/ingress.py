"""Ingresses. Their key in every path is the domain."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from ....domain.ingresses import Ingress
from ....services import ingresses
from ....services.access import Caller
from ..context import LeptonContext
from ..merge import merge_patch
from ..refusals import refusal
from ..translate import ingress as translate
from ..wire_ingress import IngressBody, IngressEndpoint
from .deps import Authorized, Context
from .serving import objects_of

router = APIRouter()


def _show(ctx: LeptonContext, who: Caller, found: Sequence[Ingress]) -> list[dict[str, Any]]:
    is_bare = ingresses.gone_from(ctx.services, who.workspace)
    return [translate.ingress_to_wire(i, ctx.gateway_url, is_bare=is_bare(i)) for i in found]


@router.get("/{ws}/ingress")
async def list_ingresses(who: Authorized, ctx: Context) -> Response:
    return JSONResponse(_show(ctx, who, ingresses.list_ingresses(ctx.services, who.workspace)))


@router.post("/{ws}/ingress")
async def create_ingress(body: IngressBody, who: Authorized, ctx: Context) -> Response:
    raw = body.spec.model_dump(exclude_unset=True, by_alias=True)
    wanted = translate.ingress_to_domain(who, body, raw, ctx.services.clock.now_ms())
    made = await ingresses.create_ingress(ctx.services, who, wanted, ctx.own_names)
    return JSONResponse(_show(ctx, who, [made])[0], 201)


@router.get("/{ws}/ingress/{domain}")
async def get_ingress(domain: str, who: Authorized, ctx: Context) -> Response:
    return JSONResponse(_show(ctx, who, [ingresses.get_ingress(ctx.services, who.workspace, domain)])[0])


@router.patch("/{ws}/ingress/{domain}")
async def update_ingress(domain: str, patch: dict[str, Any], who: Authorized, ctx: Context) -> Response:
    """A JSON merge patch; the clients send the complete object."""

    wanted = objects_of(patch)

    def change(before: Ingress) -> Ingress:
        spec = merge_patch(translate.spec_to_wire(before), wanted)
        try:
            body = IngressBody.model_validate({"spec": spec})
        except ValidationError as error:
            raise refusal(error) from error
        return translate.with_spec(before, body.spec, spec)

    changed = await ingresses.change_ingress(ctx.services, who, domain, change)
    return JSONResponse(_show(ctx, who, [changed])[0])


@router.delete("/{ws}/ingress/{domain}")
async def delete_ingress(domain: str, who: Authorized, ctx: Context) -> Response:
    await ingresses.delete_ingress(ctx.services, who.workspace, domain)
    return JSONResponse({})


@router.post("/{ws}/ingress/{domain}/endpoint/deployment")
async def add_ingress_endpoint(
    domain: str, endpoint: IngressEndpoint, who: Authorized, ctx: Context
) -> Response:
    share = translate.share_to_domain(endpoint, "endpoint")
    changed = await ingresses.add_share(ctx.services, who, domain, share)
    return JSONResponse(_show(ctx, who, [changed])[0], 201)


@router.delete("/{ws}/ingress/ingress/{domain}/endpoint/deployment/{endpoint}")  # as 0.26.4 has it
@router.delete("/{ws}/ingress/{domain}/endpoint/deployment/{endpoint}")
async def remove_ingress_endpoint(domain: str, endpoint: str, who: Authorized, ctx: Context) -> Response:
    changed = await ingresses.remove_share(ctx.services, who, domain, endpoint)
    return JSONResponse(_show(ctx, who, [changed])[0])
