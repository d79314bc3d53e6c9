"""From a submission to a workload's spec."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ....domain.images import check_image
from ....domain.inventory import HostNode, Shape
from ....domain.volumes import MountRequest
from ....domain.workload import Member, Toleration, WorkloadSpec
from ....errors import Invalid, NotImplementedYet
from .. import wire_workloads as wire
from ..wire_inference import InferenceCreation
from .compute import resources_of
from .container_options import options_of
from .distributed import members_of
from .priorities import TYPES, is_preemptible, value_of
from .storage import expected_claims, mounts_of
from .topology import topology_of

NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
NODE_TYPE = "run.ai/type"  # the label that node types are told by
BACKOFF_LIMIT = 6  # as Kubernetes' own for jobs
SECRET_KEY = "value"  # Homeport's secrets hold one value each
FIELDS = ("metadata.name", "metadata.namespace", "spec.nodeName")  # of a pod, that a variable may take
ENV_NAME = re.compile(r"[^=\0-\x1f\x7f]+")
IGNORED = "FieldIgnored"  # the reason of an event
WHOLE = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to run on."""

    nodes: Sequence[HostNode]
    shapes: Sequence[Shape]


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    Args:
        mounts: those of the spec, each with the path of its field. warnings: reason and message of events.
        expected: claims that are said to be there already, by path of the field and name.
        secrets: of its volumes, by path of the field and name.
    """

    spec: WorkloadSpec
    mounts: tuple[tuple[str, MountRequest], ...]
    warnings: tuple[tuple[str, str], ...]
    expected: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()


def check_name(name: str, field: str = "name") -> str:
    if NAME.fullmatch(name) is None:
        raise Invalid(
            field, f"{name!r} must be at most 63 of a-z, 0-9 and '-', begin with a letter, not end with '-'"
        )
    return name


def to_spec(
    type_: str, creation: wire.Creation, raw: Mapping[str, Any], name: str, machine: Machine
) -> Wanted:
    """
    Args:
        type_: of TYPES. raw: the body as it came, to be echoed. name: that the workload is to have.

    Raises:
        Invalid: names the field that cannot be. NotImplementedYet: names one that Homeport does not honour.
    """
    for path in wire.unserved(creation):
        raise NotImplementedYet(path)
    asked = pod_of(creation)
    if asked.image is None:
        raise Invalid("spec.image", "is missing; name the image to run")
    check_image("spec.image", asked.image)
    mounts = mounts_of(asked.storage, name)
    options = options_of(asked, ((field, mount.target) for field, mount in mounts))
    need = resources_of(asked.compute, machine.nodes, machine.shapes)
    defaults = TYPES[type_]
    priority = value_of(asked.priority_class, defaults)
    plain, secret, fields = variables_of(asked.environment_variables, "spec.environmentVariables")
    extras: dict[str, Any] = {
        "type": type_,
        "requestedName": creation.name,
        "spec": raw.get("spec", {}),
        **{k: raw[k] for k in ("masterSpec", "masterSpecSameAsWorker") if k in raw},
    }
    if fields:
        extras["fields"] = fields
    spec = WorkloadSpec(
        image=asked.image,
        command=argv_of(asked.command, "spec.command"),
        args=argv_of(asked.args, "spec.args"),
        working_dir=_working_dir(asked.working_dir),
        pull={"Always": "Always", "Never": "Never"}.get(asked.image_pull_policy or "", ""),
        keeps_stdin=asked.stdin,
        pull_secrets=tuple(s.name for s in asked.image_pull_secrets if s.name and not s.exclude),
        shape=need.shape,
        cpu_cores=need.cpu_cores,
        memory_mib=need.memory_mib,
        cpu_limit_cores=need.cpu_limit_cores,
        memory_limit_mib=need.memory_limit_mib,
        gpu_count=need.gpu_count,
        gpu_portion=need.gpu_portion,
        gpu_memory_mib=need.gpu_memory_mib,
        shm_mib=need.shm_mib,
        env=plain,
        secret_env=secret,
        mounts=tuple(mount for _, mount in mounts),
        priority=priority,
        is_preemptible=is_preemptible(asked.preemptibility, priority),
        can_preempt=True,
        category=asked.category or defaults.category,
        node_groups=tuple(dict.fromkeys(asked.node_pools)),
        affinity=affinity_of(asked),
        topology=topology_of(asked),
        tolerations=tuple(_toleration(i, t) for i, t in enumerate(asked.tolerations) if not t.exclude),
        worker_retries=BACKOFF_LIMIT if asked.backoff_limit is None else asked.backoff_limit,
        ttl_s=asked.auto_deletion_time_after_completion_seconds,
        grace_s=asked.termination_grace_period_seconds,
        ends_when_evicted=asked.terminate_after_preemption,
        container_options=options.options,
        extras={"runai": extras},
    )
    return Wanted(
        _with_members(spec, creation, name), mounts,
        (*_warnings(asked), *((IGNORED, text) for text in options.told)),
        expected_claims(asked.storage, name), options.secrets,
    )  # fmt: skip


def pod_of(creation: wire.Creation) -> wire.PodSpec:
    match creation:
        case wire.TrainingCreation() | wire.WorkspaceCreation() | wire.DistributedCreation():
            return creation.spec
        case InferenceCreation():
            return creation.spec
        case _:
            raise AssertionError(f"{type(creation).__name__} has no spec")


def _with_members(spec: WorkloadSpec, creation: wire.Creation, name: str) -> WorkloadSpec:
    match creation:
        case wire.DistributedCreation():
            members = members_of(creation, name)
            size = len(members.names)
            return replace(
                spec, completions=size, parallelism=size, member_names=members.names,
                min_members=members.least if members.least < size else None,
                first=_master(spec, creation), is_led=True,
            )  # fmt: skip
        case wire.TrainingCreation(spec=asked):
            completions = asked.completions or asked.parallelism or 1
            names = tuple(f"{name}-0-{i}" for i in range(completions)) if completions > 1 else ()
            return replace(
                spec, completions=completions, parallelism=min(asked.parallelism or 1, completions),
                member_names=names, starts_singly=True,  # only distributed workloads are gangs (rule 12)
            )  # fmt: skip
        case _:
            return spec


def _master(spec: WorkloadSpec, creation: wire.DistributedCreation) -> Member | None:
    """
    What the master runs, where it differs; it has the same place, mounts and resources as the workers.

    Raises:
        Invalid: it is to be the same as the workers and is not. NotImplementedYet: it differs in more.

    Source: runapy 1.224.0, DistributedCreationRequest: with `masterSpecSameAsWorker` it should not be there.
    """
    master = creation.master_spec
    if master is None:
        return None
    if creation.master_spec_same_as_worker:
        _check_same(master, creation.spec)
        return None
    own = {"image", "command", "args", "working_dir", "environment_variables", "exposed_urls", "ports"}
    for name in sorted(master.model_fields_set - own):
        if name in type(master).model_fields and getattr(master, name) != getattr(creation.spec, name):
            alias = type(master).model_fields[name].alias
            raise NotImplementedYet(f"masterSpec.{alias} that differs from spec.{alias}")
    plain, secret, fields = variables_of(master.environment_variables, "masterSpec.environmentVariables")
    if secret or fields:
        raise NotImplementedYet("masterSpec.environmentVariables that refer to something")
    check_image("masterSpec.image", master.image or spec.image)
    return Member(
        image=master.image or spec.image,
        command=argv_of(master.command, "masterSpec.command"),
        args=argv_of(master.args, "masterSpec.args"),
        env=plain,
        working_dir=_working_dir(master.working_dir, "masterSpec.workingDir"),
    )


def _check_same(master: wire.PodSpec, worker: wire.PodSpec) -> None:
    for name in sorted(master.model_fields_set & set(type(master).model_fields)):
        if getattr(master, name) != getattr(worker, name):
            alias = type(master).model_fields[name].alias
            raise Invalid(
                f"masterSpec.{alias}",
                f"is not what spec.{alias} is, and masterSpecSameAsWorker is true; leave one of the two out",
            )


def argv_of(text: str | None, field: str) -> tuple[str, ...]:
    """Split as a shell would, quotes kept together."""
    try:
        found = tuple(shlex.split(text)) if text else ()
    except ValueError as error:
        raise Invalid(field, f"cannot be split into words: {error}") from error
    if any("\0" in word for word in found):
        raise Invalid(field, "holds a NUL character")
    return found


def _working_dir(text: str | None, field: str = "spec.workingDir") -> str:
    if text and not text.startswith("/"):
        raise Invalid(field, f"{text!r} is not absolute; begin it with '/'")
    if text and "\0" in text:
        raise Invalid(field, "holds a NUL character")
    return text or ""


Pairs = tuple[tuple[str, str], ...]


def variables_of(variables: Sequence[wire.Variable], where: str) -> tuple[Pairs, Pairs, dict[str, str]]:
    """Name and value; name and secret; name and the pod's field that it takes."""
    plain: list[tuple[str, str]] = []
    secret: list[tuple[str, str]] = []
    fields: dict[str, str] = {}
    for i, one in enumerate(variables):
        if one.exclude:
            continue
        if ENV_NAME.fullmatch(one.name) is None or "\0" in (one.value or ""):
            raise Invalid(
                f"{where}[{i}]", "a name cannot hold '=' or a control character, nor its value a NUL"
            )
        if sum(v is not None for v in (one.value, one.secret, one.pod_field_ref)) > 1:
            raise Invalid(f"{where}[{i}]", f"{one.name} has several values; give one")
        if one.secret is not None:
            if one.secret.key != SECRET_KEY:
                raise Invalid(
                    f"{where}[{i}].secret.key",
                    f"a secret of Homeport has one value; its key is {SECRET_KEY!r}",
                )
            secret.append((one.name, one.secret.name))
        elif one.pod_field_ref is not None:
            if one.pod_field_ref.path not in FIELDS:
                raise NotImplementedYet(f"{where}[{i}].podFieldRef.path {one.pod_field_ref.path}")
            fields[one.name] = one.pod_field_ref.path
        else:
            plain.append((one.name, one.value or ""))
    return tuple(plain), tuple(secret), fields


Match = tuple[str, str, tuple[str, ...]]


def affinity_of(asked: wire.PodSpec) -> tuple[tuple[Match, ...], ...]:
    """Alternatives, each of matches that all have to hold; a node type is one more match of each."""
    where = "spec.nodeAffinityRequired.nodeSelectorTerms"
    kind: tuple[Match, ...] = ((NODE_TYPE, "In", (asked.node_type,)),) if asked.node_type else ()
    found: list[tuple[Match, ...]] = []
    for i, term in enumerate(asked.node_affinity_required.node_selector_terms):
        matches: list[Match] = []
        for j, e in enumerate(term.match_expressions):
            _check_values(f"{where}[{i}].matchExpressions[{j}].values", e)
            matches.append((e.key, e.operator, tuple(e.values)))
        if matches:  # Kubernetes: a term without expressions matches no node, and is left out here
            found.append((*matches, *kind))
    return tuple(found) or ((kind,) if kind else ())


def _check_values(field: str, expression: wire.Expression) -> None:
    count, operator = len(expression.values), expression.operator
    if operator in ("In", "NotIn") and not count:
        raise Invalid(field, f"{operator} needs one value at least")
    if operator in ("Exists", "DoesNotExist") and count:
        raise Invalid(field, f"{operator} takes none; leave them out")
    if operator in ("Gt", "Lt") and (count != 1 or WHOLE.fullmatch(expression.values[0]) is None):
        raise Invalid(field, f"{operator} takes one whole number")


def _toleration(index: int, one: wire.Toleration) -> Toleration:
    at = f"spec.tolerations[{index}]"
    effect, value = None if one.effect == "Any" else one.effect, one.value or ""
    if one.operator == "Exists":
        if value:
            raise Invalid(f"{at}.value", "Exists tolerates every value; leave it out")
        value = None
    elif not one.key:
        raise Invalid(f"{at}.key", "is missing; without it the operator has to be Exists")
    if one.seconds is None:
        return one.key, value, effect
    if effect != "NoExecute":  # source: runapy 1.224.0, `Toleration`
        raise Invalid(f"{at}.seconds", "is for the effect NoExecute alone; name that, or leave it out")
    return one.key, value, effect, one.seconds


def _warnings(asked: wire.PodSpec) -> list[tuple[str, str]]:
    """What is taken note of without effect: told as events."""
    told: list[tuple[str, str]] = []
    for name in ("gpu_portion_limit", "gpu_memory_limit"):
        if getattr(asked.compute, name) is not None:
            alias = wire.Compute.model_fields[name].alias
            told.append((IGNORED, f"spec.compute.{alias} is kept, and not enforced on the device"))
    for i, claim in enumerate(asked.storage.pvc):
        asks = () if claim.exclude or claim.claim_info is None else _without_effect(claim.claim_info)
        if asks:
            told.append(
                (
                    IGNORED,
                    f"spec.storage.pvc[{i}].claimInfo: {', '.join(asks)} kept, and not enforced: a claim "
                    "is a directory, which has all the room of its disk",
                )
            )
    if isinstance(asked, wire.DistributedSpec):
        for name, default in wire.OF_MPI.items():
            if getattr(asked, name) not in (None, default):
                alias = wire.DistributedSpec.model_fields[name].alias
                told.append((IGNORED, f"spec.{alias} is for MPI only, and has no effect"))
        if asked.clean_pod_policy in ("None", "Running"):
            told.append(
                (
                    IGNORED,
                    f"spec.cleanPodPolicy {asked.clean_pod_policy} has no effect: no container stays "
                    "once its pod has ended, and its log does",
                )
            )
    return told


def _without_effect(info: wire.ClaimInfo) -> tuple[str, ...]:
    names = ("size", "storage_class", "access_modes")
    return tuple(str(wire.ClaimInfo.model_fields[n].alias) for n in names if getattr(info, n))
