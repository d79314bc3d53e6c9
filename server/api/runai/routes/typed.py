"""Trainings, workspaces and distributed workloads: submit, view, suspend, resume, delete."""

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from .. import wire_workloads as wire
from ..call import Call
from ..registry import Routes
from ..translate import workloads as translate
from . import looking
from .acting import act
from .submitting import submit

Handler = Callable[[Call], Awaitable[Response]]


def serve(routes: Routes, path: str, type_: str, model: type[wire.Creation]) -> None:
    """
    The five operations of one type.

    Args:
        path: of all of them together. type_: as the generic list calls them.
    """

    @routes.post(path)
    async def create(call: Call) -> Response:
        return call.answer(translate.view(await submit(call, type_, call.read(model))))

    @routes.get(f"{path}/{{workload_id}}")
    async def get(call: Call) -> Response:
        return call.answer(translate.view(looking.find(call, (type_,))))

    @routes.delete(f"{path}/{{workload_id}}")
    async def delete(call: Call) -> Response:
        return call.accepted(await act(call, looking.find(call, (type_,)), "delete"))

    def action(name: str) -> Handler:
        async def handler(call: Call) -> Response:
            return call.accepted(await act(call, looking.find(call, (type_,)), name))

        return handler

    for name in ("suspend", "resume"):
        routes.post(f"{path}/{{workload_id}}/{name}")(action(name))
    _ = create, get, delete
