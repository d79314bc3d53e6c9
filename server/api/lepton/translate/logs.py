"""Log lines in the form of Loki's query_range, which the clients parse."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ....domain.workload import Attempt
from ....services.attempt_logs import LogLine


def lines_to_wire(attempts: Mapping[tuple[str, int], Attempt], lines: Sequence[LogLine]) -> dict[str, Any]:
    """Times as text: nanoseconds do not fit the numbers of JSON in every client."""
    streams: dict[tuple[str, int], list[list[str]]] = {}
    for line in lines:
        streams.setdefault((line.replica_id, line.attempt), []).append([str(line.at_ns), line.text])
    result = [{"stream": _labels(attempts[key]), "values": values} for key, values in streams.items()]
    return {"status": "success", "data": {"resultType": "streams", "result": result}}


def _labels(attempt: Attempt) -> dict[str, str]:
    return {"job": attempt.workload_id, "replica": attempt.replica_id, "attempt": str(attempt.number)}


def counts_to_wire(counts: Mapping[str, Counter[int]], limit: int, *, newest_first: bool) -> dict[str, Any]:
    """Points as Loki gives them: seconds as a number, the count as text."""
    result: list[dict[str, Any]] = []
    for replica, points in sorted(counts.items()):
        chosen = sorted(points.items(), reverse=newest_first)[:limit]
        values = [[at_ms / 1000, str(count)] for at_ms, count in chosen]
        result.append({"metric": {"replica": replica}, "values": values})
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}
