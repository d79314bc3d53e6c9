"""Words that workloads are described with: priorities, types, categories."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from ....errors import NotFound
from .. import ids
from ..call import Call
from ..lists import Read
from ..registry import Routes
from ..translate.org import time_to_wire
from ..translate.priorities import CATEGORIES, OLDER, PRIORITIES, TYPES, Type

routes = Routes()
Json = dict[str, Any]
GROUP = "run.ai"
PRIORITY_FIELDS: Mapping[str, Read[Json]] = {
    "name": lambda p: p["name"],
    "source": lambda p: p["source"],
    "value": lambda p: p["value"],
}
TYPE_FIELDS: Mapping[str, Read[Json]] = {"name": lambda t: t["name"], "group": lambda t: t["group"]}


@routes.get("/api/v1/workload-priorities")
async def list_priorities(call: Call) -> Response:
    made = time_to_wire(call.ctx.created_at_ms)
    known = [
        {
            "id": ids.of_word("priority", name),
            "name": name,
            "value": value,
            "source": "built-in",
            "createdAt": made,
            "updatedAt": made,
        }
        for name, value in sorted((PRIORITIES | OLDER).items(), key=lambda p: p[1])
    ]
    page = call.page(known, PRIORITY_FIELDS)
    return call.answer({"priorities": page.items})


@routes.get("/api/v1/workload-types")
async def list_types(call: Call) -> Response:
    """`externalTypesOnly`: there are none."""
    known = [] if call.query.flag("externalTypesOnly") else [_type(call, t) for t in TYPES.values()]
    return call.answer({"types": call.select(known, TYPE_FIELDS)})


@routes.get("/api/v1/workload-types/{workload_type_id}")
async def get_type(call: Call) -> Response:
    found = [t for t in TYPES.values() if ids.of_word("type", t.name) == call.params["workload_type_id"]]
    if not found:
        raise NotFound("workload type", call.params["workload_type_id"], among=_by_id("type", TYPES))
    return call.answer(_type(call, found[0]))


def _by_id(kind: str, names: Iterable[str]) -> str:
    return ", ".join(f"{ids.of_word(kind, name)} ({name})" for name in names)


def _type(call: Call, one: Type) -> Json:
    made = time_to_wire(call.ctx.created_at_ms)
    return {
        "id": ids.of_word("type", one.name),
        "name": one.name,
        "group": GROUP,
        "categoryId": ids.of_word("category", one.category),
        "categoryName": one.category,
        "priorityId": ids.of_word("priority", one.priority),
        "priorityName": one.priority,
        "createdAt": made,
        "updatedAt": made,
    }


@routes.get("/api/v1/workload-categories")
async def list_categories(call: Call) -> Response:
    return call.answer({"categories": [_category(call, name) for name in CATEGORIES]})


@routes.get("/api/v1/workload-categories/{category_id}")
async def get_category(call: Call) -> Response:
    found = [name for name in CATEGORIES if ids.of_word("category", name) == call.params["category_id"]]
    if not found:
        raise NotFound("workload category", call.params["category_id"], among=_by_id("category", CATEGORIES))
    return call.answer(_category(call, found[0]))


def _category(call: Call, name: str) -> Json:
    return {
        "id": ids.of_word("category", name),
        "name": name,
        "description": CATEGORIES[name],
        "createdAt": time_to_wire(call.ctx.created_at_ms),
    }
