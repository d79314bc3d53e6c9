"""How the server is. Answered without FastAPI, so that it is the first thing that a server answers."""

from starlette.responses import JSONResponse, Response

from ...data_plane import DataPlane
from ...reconcile.loop import ReconcileLoop
from ...services.context import Services


async def health(services: Services, loop: ReconcileLoop, plane: DataPlane) -> Response:
    """503 only while the store cannot write; trouble with the runtime is a reason, not an outage."""
    trouble = await services.store.trouble()
    down = [f"node {name} cannot be reached" for name in sorted(services.down_nodes())]
    gpus = loop.machine.gpus
    told = [trouble, *loop.reasons, *down, *(gpus.reasons if gpus is not None else ()), plane.trouble]
    reasons = list(dict.fromkeys(reason for reason in told if reason))
    answer = {"status": "degraded" if reasons else "ok", "reasons": reasons}
    return JSONResponse(answer | ({"message": trouble} if trouble else {}), 503 if trouble else 200)
