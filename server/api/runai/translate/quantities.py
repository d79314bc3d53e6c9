"""Quantities as Kubernetes writes them: `100M`, `1.5Gi`, `500m`."""

import math
import re

from ....errors import Invalid

MIB = 2**20
UNITS = {"m": 1e-3, "": 1.0} | {
    unit: float(base**power)
    for base, units in ((1000, ("k", "M", "G", "T", "P", "E")), (1024, ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")))
    for power, unit in enumerate(units, 1)
}  # fmt: skip
QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,2})|(m|k|K|[MGTPE]|[KMGTPE]i)B?)?")
MOST_MIB = 2**40


def mib_of(text: str, field: str) -> int:
    """
    Whole MiB, rounded up; `MB` is taken for `M`, and `K` for `k`.

    Raises:
        Invalid: it is no quantity of memory.

    Source: Kubernetes, apimachinery/pkg/api/resource/quantity.go.
    """
    match = QUANTITY.fullmatch(text.strip())
    if match is None:
        raise Invalid(field, f"{text!r} is no quantity; write it as 100M, 512Mi or 1.5Gi")
    unit = (match[3] or "").replace("K", "k") if match[3] == "K" else match[3] or ""
    mib = float(match[1]) * 10.0 ** int(match[2] or 0) * UNITS[unit] / MIB
    if mib > MOST_MIB:
        raise Invalid(field, f"{text!r} is more than any machine has")
    return math.ceil(mib)


def mib_to_wire(mib: float) -> str:
    return f"{mib:g}Mi" if mib < 1e6 else f"{round(mib)}Mi"
