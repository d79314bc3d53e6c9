"""Faults on demand: nodes, GPUs, images, the engine."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from ....services import levers
from ....services.access import check_runs_server
from .deps import Bearer, Context

router = APIRouter()


class NewFault(BaseModel):
    """
    Args:
        kind: `node-down`, `gpu-xid`, `gpu-lost`, `gpu-ecc`, `gpu-throttle`, `image-pull`, `engine-hang`
            or `engine-down`.
        gpu: its UUID, or its place on the node, counted from 0.
        code: of the Xid; of `gpu-ecc` the number of errors.
        image: a pattern such as `nvcr.io/*`.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str
    node: str = ""
    gpu: StrictStr | StrictInt = ""
    code: int = Field(default=0, ge=0, le=10_000)
    image: str = ""
    message: str = Field(default="", max_length=1000)


def _to_wire(fault: levers.Fault) -> dict[str, Any]:
    told = {"node": fault.node, "gpu": fault.gpu, "image": fault.image, "message": fault.message}
    return {
        "id": fault.id,
        "kind": fault.kind.value,
        **{name: value for name, value in told.items() if value},
        **({"code": fault.code} if fault.code else {}),
        "added_at_ms": fault.added_at_ms,
    }


@router.get("/faults")
async def list_faults(ctx: Context, _who: Bearer) -> Response:
    return JSONResponse([_to_wire(fault) for fault in ctx.levers.get_faults().faults])


@router.post("/faults")
async def add_fault(new: NewFault, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "break things")
    made = levers.add_fault(ctx.services, ctx.levers, **new.model_dump())
    return JSONResponse(_to_wire(made), 201)


@router.delete("/faults")
async def clear_faults(ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "mend what is broken")
    return JSONResponse([_to_wire(fault) for fault in levers.clear_faults(ctx.services, ctx.levers)])


@router.delete("/faults/{fault_id}")
async def clear_fault(fault_id: str, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "mend what is broken")
    return JSONResponse(
        [_to_wire(fault) for fault in levers.clear_faults(ctx.services, ctx.levers, fault_id)]
    )
