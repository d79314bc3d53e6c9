"""What the routes of both families share: endpoints and pods are made, changed and shown in one way."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ....domain.workload import Phase, Workload, WorkloadSpec
from ....errors import Invalid, NotImplementedYet
from ....services import endpoints, registries, secrets, volumes, workloads
from ....services.access import Caller, new_token
from ....services.endpoints import KIND, POD
from ....store.host_ports import host_ports_of
from ..context import LeptonContext
from ..refusals import refusal
from ..translate import deployments as translate
from ..translate.serving import with_tokens_of
from ..wire_deployments import ApiToken, Deployment

Json = dict[str, Any]


def parsed(whole: Mapping[str, Any]) -> Deployment:
    try:
        return Deployment.model_validate(whole)
    except ValidationError as error:
        raise refusal(error) from error


def objects_of(patch: Mapping[str, Any]) -> Json:
    """The patch's spec, once it and the metadata are known to be objects."""
    for name in ("metadata", "spec"):
        if not isinstance(patch.get(name, {}), dict):
            raise Invalid(name, "must be an object")
    return patch.get("spec", {})


def _spec(
    ctx: LeptonContext, who: Caller, deployment: Deployment, old: WorkloadSpec | None = None
) -> WorkloadSpec:
    asked = deployment.spec.resource_requirement
    name = asked.resource_shape if asked else None
    if not name:
        raise Invalid("spec.resource_requirement.resource_shape", "an endpoint needs a shape")
    shape = workloads.get_shape(ctx.services, name, field="spec.resource_requirement.resource_shape")
    spec = translate.to_spec(deployment, shape)
    volumes.check_mounts(ctx.services, who, spec.node_groups, spec.mounts)
    kept = [name for _, name in old.secret_env] if old else ()
    secrets.check_secrets(ctx.services, who, [name for _, name in spec.secret_env], kept=kept)
    return spec


def show(ctx: LeptonContext, shown: Sequence[tuple[Workload, Phase]]) -> list[Json]:
    """In the words of the legacy family."""
    ids = [workload.id for workload, _ in shown]
    attempts = ctx.services.store.reads.attempts(ids)
    ports = ctx.services.store.read(lambda session: host_ports_of(session, ids))
    return [
        translate.deployment_to_wire(
            workload, phase, attempts[workload.id], ctx.gateway_url, ports[workload.id]
        )
        for workload, phase in shown
    ]


def show_kinds(ctx: LeptonContext, who: Caller, kinds: Sequence[str]) -> list[Json]:
    found = endpoints.list_endpoints(ctx.services, who, kinds)
    return show(ctx, [(f.workload, f.phase) for f in found])


def show_one(ctx: LeptonContext, workload: Workload) -> Json:
    """In the phase that it is in now, also where the workload itself is only planned."""
    found = ctx.services.store.reads.get(workload.workspace, workload.id)
    assert found is not None, f"{workload.id} is not in the store"
    return show(ctx, [(workload, found.phase)])[0]


def with_token(shown: Json, token: str) -> Json:
    """The one answer that tells a token which was made for it."""
    return {**shown, "spec": {**shown["spec"], "api_tokens": [{"value": token}]}} if token else shown


async def create(ctx: LeptonContext, who: Caller, deployment: Deployment) -> tuple[Workload, str]:
    """The workload, and the token that was made for it because secure defaults ask for one, or ""."""
    token, is_pod = "", translate.is_pod(deployment)
    asked = deployment.spec
    if ctx.is_secure_by_default and not (is_pod or asked.api_tokens or asked.allow_unauthenticated_access):
        token = new_token()
        asked.api_tokens = [ApiToken(value=token)]
    names = asked.image_pull_secrets
    logins = registries.known_names(ctx.services, who.workspace, who.owner) if names else ()
    workload = await endpoints.create_endpoint(
        ctx.services, workspace=who.workspace, name=translate.deployment_name(deployment), owner=who.owner,
        spec=_spec(ctx, who, deployment), warnings=translate.warnings_of(asked, logins),
        kind=POD if is_pod else KIND,
    )  # fmt: skip
    return workload, token


async def change(
    ctx: LeptonContext,
    who: Caller,
    name: str,
    kinds: Sequence[str],
    merged: Callable[[Mapping[str, Any]], Json],
    *,
    tells_tokens: bool,
    is_dry_run: bool = False,
) -> Workload:
    """
    Args:
        merged: the whole as it should be, in the words of the legacy family, from what is kept.
        tells_tokens: otherwise those that there are stay; only their masks are kept to be merged.
    """

    def make(old: WorkloadSpec) -> WorkloadSpec:
        if "spec" not in old.extras:
            raise NotImplementedYet("to change here what was made through Run:ai")
        is_pod = old.serving is not None and old.serving.is_kept_alive
        whole = merged(old.extras)
        if not tells_tokens:
            whole["spec"].pop("api_tokens", None)
        deployment = parsed(whole)
        if translate.is_pod(deployment) != is_pod:
            raise Invalid("spec.is_pod", "cannot be changed; create a new one instead")
        new = _spec(ctx, who, deployment, old)
        return new if tells_tokens else with_tokens_of(new, old)

    return await endpoints.change_endpoint(ctx.services, who, name, make, kinds=kinds, is_dry_run=is_dry_run)
