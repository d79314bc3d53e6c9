"""
Submissions as they come: what of them Homeport acts on, or echoes without harm.

Whatever a model does not name is kept in `model_extra`; where that asks for something it is refused
by name (`unserved`), since work would run without it. A closed set of values has all that the API has,
so that another one is a 400 which names them; which of them Homeport has is in `SERVED`. `CHECKED` are
fields that Homeport has not, and of which it knows what they may hold all the same. Source of the
spelling: the models of runapy 1.224.0 (TrainingCreationRequest and those it is made of).
"""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from . import errors
from .wire_exposures import ContainerPort, ExposedUrl
from .wire_items import INT32 as INT32
from .wire_items import Item as Item
from .wire_items import Wire as Wire
from .wire_probes import Probes


class Compute(Wire):
    cpu_core_request: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cpu_core_limit: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cpu_memory_request: str | None = None
    cpu_memory_limit: str | None = None
    gpu_devices_request: int | None = Field(default=None, ge=0, le=1024)
    gpu_request_type: Literal["portion", "memory"] | None = None
    gpu_portion_request: float | None = Field(default=None, ge=0, le=1)
    gpu_portion_limit: float | None = Field(default=None, ge=0, le=1)
    gpu_memory_request: str | None = None
    gpu_memory_limit: str | None = None
    large_shm_request: bool = False


class SecretKey(Wire):
    name: str = Field(min_length=1)
    key: str = Field(min_length=1)


class PodField(Wire):
    path: str


class Variable(Item):
    name: str = Field(min_length=1)
    value: str | None = None
    secret: SecretKey | None = None
    pod_field_ref: PodField | None = None
    description: str | None = None


class Note(Item):
    """A label or an annotation."""

    name: str
    value: str | None = None


class Link(Item):
    url: str | None = None
    type: str | None = None
    name: str | None = None


class PullSecret(Item):
    name: str | None = None


class HostPath(Item):
    name: str | None = None
    path: str
    mount_path: str
    read_only: bool = True
    mount_propagation: Literal["None", "HostToContainer"] = "None"


class ClaimInfo(Wire):
    """A claim is a directory: its size is not enforced, and it can be written by any number of pods."""

    size: str | None = None
    storage_class: str | None = None
    access_modes: Any = None
    volume_mode: Literal["Filesystem", "Block"] = "Filesystem"


class Pvc(Item):
    name: str | None = None
    claim_name: str | None = Field(default=None, max_length=63)
    path: str
    existing_pvc: bool = False
    read_only: bool = False
    claim_info: ClaimInfo | None = None


class EmptyDir(Item):
    name: str | None = None
    path: str | None = Field(default=None, min_length=1)
    medium: str | None = None
    size_limit: str | None = None


class SecretVolume(Item):
    name: str | None = None
    mount_path: str | None = Field(default=None, min_length=1)
    default_mode: str | None = None
    secret: str | None = Field(default=None, min_length=1)


class Storage(Wire):
    host_path: list[HostPath] = []
    pvc: list[Pvc] = []
    empty_dir_volume: list[EmptyDir] = []
    secret_volume: list[SecretVolume] = []


class Expression(Wire):
    key: str = Field(min_length=1)
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[str] = []


class SelectorTerm(Wire):
    match_expressions: list[Expression] = []


class NodeAffinity(Wire):
    node_selector_terms: list[SelectorTerm] = []


class PodAffinity(Wire):
    """Both are mandatory where either is given."""

    type: Literal["Required", "Preferred"] | None = None
    key: str | None = None


class Toleration(Item):
    name: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    key: str = ""
    value: str | None = None
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule", "Any"] | None = None
    seconds: int | None = Field(default=None, ge=1)


Capability = Literal[
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH",
    "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN",
    "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETGID", "SETFCAP",
    "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT",
    "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "SYSLOG", "WAKE_ALARM",
]  # fmt: skip


class Security(Wire):
    """Unless it is said otherwise containers cannot gain privileges; the seccomp profile is the engine's."""

    uid_gid_source: Literal["fromTheImage", "fromIdpToken", "custom"] | None = None
    run_as_uid: int | None = Field(default=None, ge=0, le=INT32, strict=True)
    run_as_gid: int | None = Field(default=None, ge=0, le=INT32, strict=True)
    supplemental_groups: str | None = None
    run_as_non_root: bool = False
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    capabilities: list[Capability] = []
    seccomp_profile_type: Literal["RuntimeDefault", "Unconfined", "Localhost"] = "RuntimeDefault"
    host_ipc: bool = False
    host_network: bool = False


class PodSpec(Wire):
    """What all types of workloads have, and the master of a distributed one."""

    image: str | None = Field(default=None, min_length=1)
    image_pull_policy: Literal["Always", "Never", "IfNotPresent"] | None = None
    image_pull_secrets: list[PullSecret] = []
    command: str | None = None
    args: str | None = None
    working_dir: str | None = None
    stdin: bool = False
    tty: bool = False
    create_home_dir: bool = False
    environment_variables: list[Variable] = []
    compute: Compute = Compute()
    storage: Storage = Storage()
    security: Security = Security()
    ports: list[ContainerPort] = []
    exposed_urls: list[ExposedUrl] = []
    probes: Probes = Probes()
    labels: list[Note] = []
    annotations: list[Note] = []
    related_urls: list[Link] = []
    category: Literal["Build", "Train", "Deploy"] | None = None
    priority_class: str | None = None
    preemptibility: Literal["preemptible", "non-preemptible"] | None = None
    node_pools: list[str] = []
    node_type: str | None = Field(default=None, min_length=1)
    node_affinity_required: NodeAffinity = NodeAffinity()
    pod_affinity: PodAffinity | None = None
    tolerations: list[Toleration] = []
    backoff_limit: int | None = Field(default=None, ge=0, le=INT32)
    restart_policy: Literal["Always", "Never", "OnFailure"] = "OnFailure"
    termination_grace_period_seconds: int | None = Field(default=None, ge=0, le=INT32)
    auto_deletion_time_after_completion_seconds: int | None = Field(default=None, ge=0, le=INT32)
    terminate_after_preemption: bool = False


class TrainingSpec(PodSpec):
    completions: int | None = Field(default=None, ge=1, le=10_000)
    parallelism: int | None = Field(default=None, ge=1, le=10_000)


class DistributedSpec(PodSpec):
    """`OF_MPI` has no effect on other frameworks."""

    distributed_framework: Literal["MPI", "PyTorch", "TF", "XGBoost", "JAX"] = "PyTorch"
    num_workers: int | None = Field(default=None, ge=1, le=10_000)
    min_replicas: int | None = Field(default=None, ge=1)
    max_replicas: int | None = Field(default=None, ge=1, le=10_000)
    clean_pod_policy: Literal["None", "All", "Running"] | None = None
    slots_per_worker: int | None = None
    ssh_auth_mount_path: str | None = None
    mpi_launcher_creation_policy: Literal["AtStartup", "WaitForWorkersReady"] | None = None


# What only MPI reads, with the values that the client sends by itself.
OF_MPI: dict[str, Any] = {
    "slots_per_worker": 1, "ssh_auth_mount_path": "/root/.ssh", "mpi_launcher_creation_policy": None,
}  # fmt: skip


class Creation(Wire):
    name: str = Field(min_length=1)
    project_id: str = Field(min_length=1)
    cluster_id: str = Field(min_length=1)
    use_given_name_as_prefix: bool = False


class TrainingCreation(Creation):
    spec: TrainingSpec = TrainingSpec()


class WorkspaceCreation(Creation):
    spec: PodSpec = PodSpec()


class DistributedCreation(Creation):
    spec: DistributedSpec = DistributedSpec()
    master_spec: PodSpec | None = None
    master_spec_same_as_worker: bool = False


class Batch(Wire):
    ids: list[str] = Field(min_length=1, max_length=1000)
    action: Literal["delete", "suspend", "resume"]


# Of closed sets the values that Homeport has; the others are part of the API, and refused as not served.
SERVED: dict[tuple[type[BaseModel], str], tuple[str, ...]] = {
    (HostPath, "mount_propagation"): ("None",),
    (ClaimInfo, "volume_mode"): ("Filesystem",),
    (PodSpec, "restart_policy"): ("Never", "OnFailure"),
    (DistributedSpec, "distributed_framework"): ("PyTorch", "TF", "XGBoost", "JAX"),
}


class GitSecret(Wire):
    authentication_method: Literal["password", "ssh-key"] | None = None


class Git(Item):
    secret_ref: GitSecret | None = None


CHECKED: dict[tuple[type[BaseModel], str], TypeAdapter[Any]] = {
    (Storage, "git"): TypeAdapter(list[Git]),
}


def unserved(model: BaseModel, within: str = "") -> Iterator[str]:
    """
    The path of each field that asks for something Homeport has not. `false`, `""`, `[]` and `{}` ask for
    nothing; 0 does, as the user that a container is to run as.

    Raises:
        Invalid: one of them holds what it cannot.
    """
    kinds = type(model).__mro__
    for name, value in (model.model_extra or {}).items():
        if value or _is_zero(value):
            known = next((CHECKED[c, name] for c in kinds if (c, name) in CHECKED), None)
            if known is not None:
                _check(known, value, within + name)
            yield within + name
    for name in type(model).model_fields:
        value, alias = getattr(model, name), to_camel(name)
        served = next((SERVED[c, name] for c in kinds if (c, name) in SERVED), None)
        if served is not None and value not in served:
            yield f"{within}{alias}: {value}"
        if isinstance(value, BaseModel):
            yield from unserved(value, f"{within}{alias}.")
        elif isinstance(value, list):
            for i, item in enumerate(_models(value)):
                yield from unserved(item, f"{within}{alias}[{i}].")


def _check(known: TypeAdapter[Any], value: Any, path: str) -> None:
    try:
        known.validate_python(value)
    except ValidationError as error:
        raise errors.invalid(error, within=path) from error


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not value


def _models(items: Any) -> Iterator[BaseModel]:
    return (item for item in items if isinstance(item, BaseModel))
