"""
Numbers as JSON or as CSV, as `Accept` asks for it.

The API description published with runapy 1.224.0 has `text/csv` beside JSON for metrics and for the
telemetry of nodes and workloads, and says nothing of columns. Those here are the names of the JSON's own
fields: `type`, `timestamp`, what it is grouped by, `value`. Its other telemetry has JSON alone.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse
from starlette.responses import Response

from ...errors import NotAcceptable

JSON, CSV = "application/json", "text/csv"
Json = Mapping[str, Any]


def chosen(accept: str, there: Sequence[str]) -> str:
    """
    Which of the media types there are is meant; the first of them where several are welcome alike.

    Args:
        accept: the header; "" is as good as `*/*`.

    Raises:
        NotAcceptable: none of them is.

    Source: RFC 9110, 12.5.1: the most specific range that fits a type says how welcome it is.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    welcome = {name: _welcome(name, ranges) for name in there}
    best = max(there, key=lambda name: welcome[name])
    if welcome[best] == (0.0, 0):
        raise NotAcceptable(f"Accept: {accept!r} has none of {', '.join(there)}; ask for one of them")
    return best


def _range(text: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in text.split(";"))
    quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return name, min(max(float(quality), 0.0), 1.0)
    except ValueError:
        return name, 0.0


def _welcome(name: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """How much, and how precisely it was named."""
    for precision, wanted in ((3, name), (2, f"{name.split('/')[0]}/*"), (1, "*/*")):
        found = [quality for one, quality in ranges if one == wanted]
        if found:
            return (max(found), precision) if max(found) else (0.0, 0)
    return 0.0, 0


def metrics(accept: str, told: Sequence[Json], left_out: Sequence[str]) -> Response:
    """
    Args:
        told: `{type, values: [{value, timestamp}]}` of each type. left_out: types that were asked for, too.

    Raises:
        NotAcceptable: as `chosen`; also a CSV of what is not whole, since with 207 the API has JSON alone.
    """
    if chosen(accept, (JSON, CSV)) == JSON:
        return JSONResponse({"measurements": told}, 207 if left_out else 200)
    if left_out:
        raise NotAcceptable(
            f"metricType: {', '.join(left_out)} cannot be told, and only JSON says a part; leave it out"
        )
    rows = [(one["type"], v["timestamp"], v["value"]) for one in told for v in one["values"]]
    return _csv(("type", "timestamp", "value"), rows)


def telemetry(accept: str, told: Json, *, has_csv: bool = True) -> Response:
    """
    Args:
        told: `{type, timestamp, values: [{value, groups: [{key, value, name?}]}]}`.
    """
    if chosen(accept, (JSON, CSV) if has_csv else (JSON,)) == JSON:
        return JSONResponse(told)
    cells = [{**_groups(v.get("groups", ())), "value": v["value"]} for v in told["values"]]
    names = list(dict.fromkeys(name for row in cells for name in row if name != "value"))
    names.append("value")
    rows = [(told["type"], told["timestamp"], *(row.get(name, "") for name in names)) for row in cells]
    return _csv(("type", "timestamp", *names), rows)


def _groups(groups: Sequence[Json]) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in groups:
        found[group["key"]] = group["value"]
        if "name" in group:
            found[f"{group['key']}.name"] = group["name"]
    return found


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Response:
    text = io.StringIO()
    csv.writer(text).writerows((header, *rows))
    return Response(text.getvalue(), media_type=CSV)
