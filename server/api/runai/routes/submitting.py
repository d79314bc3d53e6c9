"""From a request for a new workload to its record."""

import secrets
from collections.abc import Sequence

from ....domain.org import Project
from ....domain.registries import NO_LOGIN, unknown_login
from ....domain.volumes import CLAIM
from ....domain.workload import Workload, WorkloadSpec
from ....errors import Invalid, NotFound
from ....services import endpoints, org, registries, volumes, workloads
from ....services import secrets as secret_service
from ....services.workloads import ID_ALPHABET
from .. import wire_workloads as wire
from ..call import Call
from ..ids import KEY
from ..translate import spec as translate
from ..translate.container_options import invalid
from ..translate.seen import Seen
from ..translate.spec import Machine, Wanted, check_name
from . import looking
from .deps import check_cluster
from .reaching import claims_of, reached

KIND = "job"  # Homeport's word for what runs to its end
SUFFIX = 6
NEW_CLAIM = "ClaimMade"  # the reason of an event


async def submit(call: Call, type_: str, creation: wire.Creation) -> Seen:
    """
    Durable when it returns.

    Raises:
        Invalid, NotImplementedYet: name the field. Conflict: there is one of that name in the project.
    """
    services = call.ctx.services
    project, name = project_of(call, creation), name_of(creation)
    where = looking.where(call)
    wanted = translate.to_spec(type_, creation, call.body, name, Machine(where.nodes, where.shapes))
    warnings = check(call, project, wanted)
    reach = reached(call, project, name, creation, wanted.spec)
    workload = await workloads.create_workload(
        services, workspace=project.name, name=name, kind=KIND, owner=call.who.name,
        spec=stamped(reach.spec, project), warnings=[*warnings, *reach.warnings],
        sole_among=(KIND, *endpoints.BOTH), claims=claims_of(call, reach),
    )  # fmt: skip
    return shown(call, workload)


def shown(call: Call, workload: Workload) -> Seen:
    """As it is in the store now."""
    services = call.ctx.services
    found = services.store.reads.get(workload.workspace, workload.id)
    assert found is not None, f"{workload.id} is not in the store"
    return looking.look(call, [found])[0]


def project_of(call: Call, creation: wire.Creation) -> Project:
    check_cluster(call, creation.cluster_id)
    try:
        return org.get_project(call.ctx.services, creation.project_id)
    except NotFound as error:
        there = f"{creation.project_id!r}; GET /api/v1/org-unit/projects tells the ids"
        raise Invalid("projectId", f"no project has the id {there}") from error


def name_of(creation: wire.Creation) -> str:
    name = check_name(creation.name)
    if not creation.use_given_name_as_prefix:
        return name
    suffix = "".join(secrets.choice(ID_ALPHABET) for _ in range(SUFFIX))
    return check_name(f"{name}-{suffix}")


def stamped(spec: WorkloadSpec, project: Project) -> WorkloadSpec:
    """With what its containers are told of its project."""
    spec.extras[KEY]["namespace"] = project.namespace
    return spec


def check(
    call: Call, project: Project, wanted: Wanted, kept_secrets: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """
    Reason and message of the events that tell what of it has no effect.

    Args:
        kept_secrets: which it has already, and may go on to name when they are gone.

    Raises:
        Invalid: it names a pool, a secret or a directory that there is not, or may not be given.
    """
    services, spec = call.ctx.services, wanted.spec
    pools = [p.name for p in org.list_node_pools(services)]
    for i, pool in enumerate(spec.node_groups):
        if pool not in pools:
            raise Invalid(
                f"spec.nodePools[{i}]", f"no node pool named {pool!r}; there are {', '.join(pools)}"
            )
    who = looking.caller(call, project.name)
    secret_service.check_secrets(services, who, [name for _, name in spec.secret_env], kept=kept_secrets)
    for field, name in wanted.secrets:
        try:
            secret_service.check_secrets(services, who, [name], kept=kept_secrets)
        except Invalid as error:
            raise Invalid(field, str(error).partition(": ")[2]) from error
    if (refusal := services.refusal(spec.options)) is not None:
        raise invalid(refusal)
    for field, mount in wanted.mounts:
        if mount.volume.startswith(CLAIM):
            continue
        try:
            volumes.check_mounts(services, who, spec.node_groups, [mount])
        except Invalid as error:
            raise Invalid(field, str(error).partition(": ")[2]) from error
    return [
        *wanted.warnings,
        *_unknown_logins(call, project, wanted),
        *_missing_claims(call, project, wanted),
    ]


def _unknown_logins(call: Call, project: Project, wanted: Wanted) -> list[tuple[str, str]]:
    if not wanted.spec.pull_secrets:
        return []
    known = registries.known_names(call.ctx.services, project.name, call.who.name)
    return [(NO_LOGIN, unknown_login(name)) for name in wanted.spec.pull_secrets if name not in known]


def _missing_claims(call: Call, project: Project, wanted: Wanted) -> list[tuple[str, str]]:
    return [
        (
            NEW_CLAIM,
            f"{field}: there is no claim {name!r} in project {project.name} yet; it is made, empty, for this",
        )
        for field, name in wanted.expected
        if not volumes.has_claim(call.ctx.services, project.name, name)
    ]
