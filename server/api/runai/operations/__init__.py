"""
Every operation that runapy 1.224.0 can send: what is served names the test that observes it.

Source: the client's own call sites, and the API description published with it.
"""

from . import access, assets, cli, org, templates, workloads
from ._table import Operation

__all__ = ["OPERATIONS", "Operation"]

OPERATIONS: tuple[Operation, ...] = (
    *org.OPERATIONS,
    *access.OPERATIONS,
    *workloads.OPERATIONS,
    *assets.OPERATIONS,
    *templates.OPERATIONS,
    *cli.OPERATIONS,
)
