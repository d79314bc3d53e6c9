"""How durations and sizes are written: `1.5`, `500ms`, `30s`, `5m`, `2h`, `1d`; `512GiB`, `1024`."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..domain.times import LONGEST_S

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(MiB|GiB|TiB|MB|GB|TB)?", re.IGNORECASE)
MOST_MIB = 2**40  # clients count in bytes, in 64 bits
MIB = {"mib": 1, "gib": 1024, "tib": 2**20, "mb": 1e6 / 2**20, "gb": 1e9 / 2**20, "tb": 1e12 / 2**20}


def seconds(value: Any) -> Any:
    """
    Raises:
        ValueError: it is no duration.
    """
    if isinstance(value, bool):  # pydantic takes it for 1 or 0
        raise ValueError(f"{value} is no duration; write seconds, or 500ms, 30s, 5m, 2h, 1d")
    if isinstance(value, str):
        match = DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is no duration; write seconds, or 500ms, 30s, 5m, 2h, 1d")
        return float(match[1]) * SECONDS[match[2] or "s"]
    return value


def mebibytes(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value} is no size; write a number of MiB, or 512GiB, 2TiB")
    if isinstance(value, str):
        match = SIZE.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is no size; write a number of MiB, or 512GiB, 2TiB")
        return int(float(match[1]) * MIB[(match[2] or "MiB").lower()])
    return value


Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=LONGEST_S)]
Mebibytes = Annotated[int, BeforeValidator(mebibytes), Field(ge=1, le=MOST_MIB)]


class SpanBody(BaseModel):
    """Drawn evenly between the two."""

    model_config = ConfigDict(extra="forbid")

    min: Seconds
    max: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> "SpanBody":
        if self.max < self.min:
            raise ValueError("max is below min")
        return self
