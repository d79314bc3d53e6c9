"""What a pod's containers have for themselves: empty directories, secrets, a home; and who they are."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .....runtime.container_options import (
    NOTHING,
    ContainerOptions,
    EmptyDir,
    Refusal,
    SecretVolume,
    Security,
)
from ....domain.volumes import clean_target
from ....errors import Invalid, NotImplementedYet
from .. import wire_workloads as wire
from .quantities import mib_of

HOME = "/home/user"  # where there is none yet; HOME among the variables is another
MODE = re.compile(r"0[0-7]{3}")
GROUP = re.compile(r"\s*([0-9]{1,10})\s*")
# Those that a container may have by Kubernetes' Pod Security Standards ("Baseline"), and three more that
# reach nothing outside of it: raw sockets on its own network, memory that stays in place and is counted all
# the same, and looking into its own processes.
CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "KILL", "MKNOD",
        "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_PTRACE",
    }
)  # fmt: skip
# By what a runtime calls them.
FIELDS = {
    "empty_dirs": "spec.storage.emptyDirVolume",
    "secrets": "spec.storage.secretVolume",
    "home": "spec.createHomeDir",
    "has_tty": "spec.tty",
    "uid": "spec.security.runAsUid",
    "gid": "spec.security.runAsGid",
    "groups": "spec.security.supplementalGroups",
    "is_never_root": "spec.security.runAsNonRoot",
    "has_fixed_root": "spec.security.readOnlyRootFilesystem",
    "capabilities": "spec.security.capabilities",
    "may_gain_privileges": "spec.security.allowPrivilegeEscalation",
}


@dataclass(frozen=True, slots=True)
class WantedOptions:
    """
    Args:
        options: None where nothing is asked for. secrets: names, each with the path of its field.
        told: of what has no effect.
    """

    options: ContainerOptions | None
    secrets: tuple[tuple[str, str], ...] = ()
    told: tuple[str, ...] = ()


def options_of(asked: wire.PodSpec, mounted: Iterable[tuple[str, str]]) -> WantedOptions:
    """
    Args:
        mounted: path of the field and target of what else is mounted.

    Raises:
        Invalid: names the field that cannot be, or may not. NotImplementedYet: one that is not honoured.
    """
    targets = _Targets(mounted)
    told: list[str] = []
    empty_dirs = [
        _empty_dir(f"spec.storage.emptyDirVolume[{i}]", one, targets, told)
        for i, one in enumerate(asked.storage.empty_dir_volume)
        if not one.exclude
    ]
    at = "spec.storage.secretVolume"
    secrets = [
        (f"{at}[{i}].secret", _secret(f"{at}[{i}]", one, targets))
        for i, one in enumerate(asked.storage.secret_volume)
        if not one.exclude
    ]
    home = _home(asked.environment_variables) if asked.create_home_dir else ""
    if home and home not in targets:  # else what is mounted there is the home
        empty_dirs.append(EmptyDir(home))
    security = security_of(asked.security)
    if security.capabilities and security.uid:
        told.append("spec.security.capabilities has no effect: they are root's, and runAsUid is another user")
    found = ContainerOptions(security, tuple(empty_dirs), tuple(s for _, s in secrets), home, asked.tty)
    names = tuple((field, one.secret) for field, one in secrets)
    return WantedOptions(None if found == NOTHING else found, names, tuple(told))


class _Targets:
    """Where something is mounted, and by which field."""

    def __init__(self, mounted: Iterable[tuple[str, str]]) -> None:
        self._taken = {target: field for field, target in mounted}

    def __contains__(self, target: str) -> bool:
        return target in self._taken

    def take(self, field: str, path: str) -> str:
        try:
            target = clean_target(path)
        except ValueError as error:
            raise Invalid(field, str(error)) from error
        if target in self._taken:
            raise Invalid(
                field, f"{target} is also where {self._taken[target]} is mounted; use another folder"
            )
        self._taken[target] = field
        return target


def _empty_dir(at: str, asked: wire.EmptyDir, targets: _Targets, told: list[str]) -> EmptyDir:
    if asked.path is None:
        raise Invalid(f"{at}.path", "is missing; name the folder of the container")
    if asked.medium not in (None, "", "Memory"):
        raise Invalid(f"{at}.medium", f"{asked.medium!r} is none; it is Memory, or left out for the disk")
    size_mib = mib_of(asked.size_limit, f"{at}.sizeLimit") if asked.size_limit is not None else None
    if size_mib == 0:
        raise Invalid(f"{at}.sizeLimit", "is 0; leave it out where there is to be no limit")
    is_in_memory = asked.medium == "Memory"
    if size_mib is not None and not is_in_memory:
        told.append(f"{at}.sizeLimit is kept, and not enforced on the disk; in memory it is")
    return EmptyDir(targets.take(f"{at}.path", asked.path), is_in_memory, size_mib)


def _secret(at: str, asked: wire.SecretVolume, targets: _Targets) -> SecretVolume:
    if asked.secret is None:
        raise Invalid(f"{at}.secret", "is missing; name a secret of the workspace")
    if asked.mount_path is None:
        raise Invalid(f"{at}.mountPath", "is missing; name the folder of the container")
    if asked.default_mode is not None and MODE.fullmatch(asked.default_mode) is None:
        raise Invalid(f"{at}.defaultMode", f"{asked.default_mode!r} is none; write it as 0400")
    mode = int(asked.default_mode or "0644", 8)  # Kubernetes' own
    return SecretVolume(targets.take(f"{at}.mountPath", asked.mount_path), asked.secret, mode)


def _home(variables: Sequence[wire.Variable]) -> str:
    given = next((v for v in variables if v.name == "HOME" and v.value and not v.exclude), None)
    if given is None or given.value is None:
        return HOME
    try:
        return clean_target(given.value)
    except ValueError as error:
        raise Invalid("spec.createHomeDir", f"HOME is {given.value!r}: {error}") from error


def security_of(asked: wire.Security) -> Security:
    """
    Raises:
        Invalid: it contradicts itself, or would open the host. NotImplementedYet: as `options_of`.
    """
    at = "spec.security"
    _check_namespaces(asked)
    match asked.seccomp_profile_type:
        case "RuntimeDefault":
            pass
        case "Unconfined":
            why = "would let its programs make every call of the kernel that all workloads share"
            raise Invalid(f"{at}.seccompProfileType", f"Unconfined {why}; use RuntimeDefault")
        case "Localhost":
            why = "needs a profile of the node, and no field names one"
            raise Invalid(f"{at}.seccompProfileType", f"Localhost {why}; use RuntimeDefault")
    for i, name in enumerate(asked.capabilities):
        if name not in CAPABILITIES:
            there = ", ".join(sorted(CAPABILITIES))
            why = "reaches beyond its own container"
            raise Invalid(f"{at}.capabilities[{i}]", f"{name} {why}; there are {there}")
    _check_user(asked)
    return Security(
        uid=asked.run_as_uid,
        gid=asked.run_as_gid,
        groups=_groups(asked.supplemental_groups, f"{at}.supplementalGroups"),
        is_never_root=asked.run_as_non_root,
        has_fixed_root=asked.read_only_root_filesystem,
        capabilities=tuple(dict.fromkeys(asked.capabilities)),
        may_gain_privileges=asked.allow_privilege_escalation,
    )


def _check_namespaces(asked: wire.Security) -> None:
    if asked.host_ipc:
        raise Invalid(
            "spec.security.hostIpc",
            "would share memory with every program of the host; leave it out. The members of a workload "
            "share none",
        )
    if asked.host_network:
        raise Invalid(
            "spec.security.hostNetwork",
            "would open every service of the host's loopback, Homeport's own among them; leave it out, "
            "and use ports or exposedUrls",
        )


def _check_user(asked: wire.Security) -> None:
    at = "spec.security"
    names = {
        "runAsUid": asked.run_as_uid, "runAsGid": asked.run_as_gid,
        "supplementalGroups": asked.supplemental_groups or None,
    }  # fmt: skip
    given = [name for name, value in names.items() if value is not None]
    match asked.uid_gid_source:
        case "fromIdpToken":  # no identity provider tells numbers of users here
            raise NotImplementedYet(f"{at}.uidGidSource: fromIdpToken")
        case "fromTheImage" if given:
            raise Invalid(f"{at}.{given[0]}", "is for the uidGidSource custom; say that, or leave it out")
        case "custom" if asked.run_as_uid is None:
            raise Invalid(f"{at}.runAsUid", "is missing; the uidGidSource custom needs it")
        case _ if asked.run_as_gid is not None and asked.run_as_uid is None:
            raise Invalid(f"{at}.runAsUid", "is missing; runAsGid needs it")
        case _ if asked.run_as_non_root and asked.run_as_uid == 0:
            raise Invalid(f"{at}.runAsUid", "is root's, and runAsNonRoot is true; leave one of the two out")
        case _:
            return


def _groups(text: str | None, field: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(",") if text and text.strip() else ():
        match = GROUP.fullmatch(part)
        if match is None or int(match[1]) > wire.INT32:
            raise Invalid(field, f"{part.strip()!r} is no group; write their numbers as 100,200")
        found.append(int(match[1]))
    return tuple(dict.fromkeys(found))


def invalid(refusal: Refusal) -> Invalid:
    """What the runtime of this server cannot give, by the field that asks for it."""
    return Invalid(FIELDS[refusal.part], refusal.why)
