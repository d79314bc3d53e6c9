"""Domain objects as JSON and back: what the `doc` columns hold, never a vendor's words."""

import json
from dataclasses import asdict
from enum import Enum
from typing import Any

from ..domain.volumes import MountRequest
from ..domain.workload import Attempt, AttemptState, Phase, Run, Workload, WorkloadSpec


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def to_doc(thing: Workload | Attempt) -> str:
    return json.dumps(asdict(thing), default=_plain, separators=(",", ":"))


def workload_from(doc: str) -> Workload:
    raw: dict[str, Any] = json.loads(doc)
    spec: dict[str, Any] = raw.pop("spec")
    for name in ("env", "secret_env", "ports"):
        spec[name] = tuple(tuple(item) for item in spec[name])
    spec["mounts"] = tuple(MountRequest(**m) for m in spec["mounts"])
    for name in ("command", "node_groups", "nodes"):
        spec[name] = tuple(spec[name])
    for run in raw["history"]:
        run["phase"] = Phase(run["phase"])
    raw["history"] = tuple(Run(**run) for run in raw["history"])
    return Workload(spec=WorkloadSpec(**spec), **raw)


def attempt_from(doc: str) -> Attempt:
    raw: dict[str, Any] = json.loads(doc)
    raw["gpu_uuids"], raw["state"] = tuple(raw["gpu_uuids"]), AttemptState(raw["state"])
    return Attempt(**raw)
