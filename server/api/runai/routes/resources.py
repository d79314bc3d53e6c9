"""The quotas of an org unit: PUT replaces them, PATCH merges per node pool; both answer the full list."""

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from ....domain.org import Department, PoolQuota, Project
from ....errors import Invalid
from ....services import quotas
from .. import errors, quirks
from ..call import Call
from ..translate import org as translate
from ..wire import Resources
from .deps import units

_LIST = TypeAdapter(list[Resources])


def read_resources(call: Call) -> list[Resources]:
    """
    A list with an entry for each node pool; nothing at all is none.

    Raises:
        Invalid: it is something else.

    Source: runapy sends the list of `ResourcesNullable`; a falsy one arrives as no body.
    """
    sent = call.sent or []
    if not isinstance(sent, list):
        raise Invalid(
            "body", "must be a list with an entry for each node pool: [{nodePool, gpu, cpu, memory}]"
        )
    try:
        return _LIST.validate_python(quirks.without_empty_nulls(sent))
    except ValidationError as error:
        raise errors.invalid(error, within="resources") from error


async def put_resources(call: Call, unit: Department | Project) -> Response:
    wanted = translate.quotas_to_domain(read_resources(call), units(call).pools)
    after = await quotas.set_quotas(call.ctx.services, unit, wanted, merge=False, by=call.who.name)
    return _answer(call, after)


async def patch_resources(call: Call, unit: Department | Project) -> Response:
    sent, pools = read_resources(call), units(call).pools

    def change(there: Sequence[PoolQuota]) -> Sequence[PoolQuota]:
        return translate.quotas_to_domain(sent, pools, there)

    after = await quotas.change_quotas(call.ctx.services, unit, change, merge=True, by=call.who.name)
    return _answer(call, after)


def _answer(call: Call, after: Sequence[PoolQuota]) -> Response:
    return call.answer(translate.quotas_to_wire(after, units(call).pools))
