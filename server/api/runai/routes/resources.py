"""The quotas of an org unit: PUT replaces them, PATCH merges per node pool; both answer the full list."""

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from ....domain.org import Department, PoolQuota, Project
from ....services import org
from .. import errors
from ..call import Call
from ..translate import org as translate
from ..wire import Resources
from .deps import units

_LIST = TypeAdapter(list[Resources])


def read_resources(call: Call) -> list[Resources]:
    """
    A list, or an object whose `resources` is one; nothing at all is no pool.

    Source: runapy sends the list of `ResourcesUpdateRequest`; a falsy one arrives as no body.
    """
    body = call.body.get("resources", []) if isinstance(call.body, dict) else call.body
    try:
        return _LIST.validate_python(body)
    except ValidationError as error:
        raise errors.invalid(error, within="resources") from error


async def put_resources(call: Call, unit: Department | Project) -> Response:
    quotas = translate.quotas_to_domain(read_resources(call), units(call).pools)
    return _answer(call, await set_resources(call, unit, quotas))


async def patch_resources(call: Call, unit: Department | Project) -> Response:
    quotas = translate.quotas_to_domain(read_resources(call), units(call).pools, unit.quotas)
    after = await org.set_quotas(call.ctx.services, unit, quotas, merge=True, by=call.who.name)
    return _answer(call, after)


async def set_resources(
    call: Call, unit: Department | Project, quotas: Sequence[PoolQuota]
) -> Sequence[PoolQuota]:
    return await org.set_quotas(call.ctx.services, unit, quotas, merge=False, by=call.who.name)


def _answer(call: Call, quotas: Sequence[PoolQuota]) -> Response:
    return call.answer(translate.quotas_to_wire(quotas, units(call).pools))
