"""Parse, one call, answer: what is served. Which operations there are is in `operations`."""

from ..registry import merge
from . import (
    clusters,
    departments,
    distributed,
    events,
    inferences,
    nodepools,
    nodes,
    org_units,
    pods,
    projects,
    properties,
    revisions,
    telemetry,
    token,
    trainings,
    workloads,
    workspaces,
)

SERVED = merge(
    part.routes
    for part in (
        token,
        clusters,
        nodes,
        nodepools,
        departments,
        projects,
        org_units,
        trainings,
        workspaces,
        distributed,
        inferences,
        revisions,
        workloads,
        pods,
        events,
        properties,
        telemetry,
    )
)
