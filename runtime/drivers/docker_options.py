"""What a container has for itself, and who it is there, in the engine's words."""

import contextlib
import io
import os
import tarfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.types import DriverConfig
from docker.types import Mount as EngineMount

from ..container_options import SECRET_FILE, EmptyDir, SecretVolume, Security
from ..errors import LaunchRefused, MountRejected
from ..model import ContainerSpec
from .docker_stage import MS_PRIVATE, mount, staging_point

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8  # <sys/mount.h>
SECRET_MIB = 1  # a secret has 128 KiB at most
ANYBODY, LISTED = 0o777, 0o755  # as Kubernetes makes an emptyDir, and the directory of a secret


def unnamed_volume(target: str, instance: str, driver: DriverConfig | None = None) -> EngineMount:
    """One of the engine's local driver; it goes with its container (`v=True`)."""
    made = EngineMount(
        target,
        None,
        type="volume",
        no_copy=True,  # never fill it from the image
        labels={"homeport.instance": instance},
        driver_config=driver,
    )
    made["Source"] = ""
    return made


def security_arguments(security: Security) -> dict[str, Any]:
    """For the SDK's create_host_config."""
    return {
        "security_opt": None if security.may_gain_privileges else ["no-new-privileges"],
        "read_only": security.has_fixed_root,
        "cap_add": list(security.capabilities) or None,
        "group_add": [str(group) for group in security.groups] or None,
    }


def user_of(security: Security) -> str | None:
    """For the SDK's create_container."""
    if security.uid is None:
        return None
    return f"{security.uid}" if security.gid is None else f"{security.uid}:{security.gid}"


def check_user(api: Any, spec: ContainerSpec) -> None:
    """
    As the kubelet does: a name says nothing of the number that it stands for.

    Raises:
        LaunchRefused: it is never to be root, and would be, or may be.
    """
    security = spec.options.security
    if not security.is_never_root or security.uid is not None:
        return  # a uid of 0 was refused when it came
    user = str(api.inspect_image(spec.image)["Config"].get("User") or "").partition(":")[0]
    if not user.isdecimal() or int(user) == 0:
        runs_as = f"as {user!r}, whose number is not known" if user not in ("", "0", "root") else "as root"
        raise LaunchRefused(
            f"it must not run as root, and {spec.image} runs {runs_as}; give it a uid, or an image with one"
        )


def tmpfs_of(spec: ContainerSpec) -> dict[str, str]:
    """Directories in memory, by target, with their options. Without `exec` the engine forbids programs."""
    uid, gid = spec.options.security.owner

    def options(one: EmptyDir) -> str:
        size_mib = min(one.size_mib or spec.memory_mib, spec.memory_mib)
        return f"rw,exec,nosuid,nodev,mode={ANYBODY:o},uid={uid},gid={gid},size={size_mib}m"

    return {one.target: options(one) for one in spec.options.empty_dirs if one.is_in_memory}


@dataclass(frozen=True, slots=True)
class Own:
    """
    Directories on disk, and secrets; and what is still to be done once the container is created.

    Args:
        archives: with the path at which each is unpacked. opened: targets that become anybody's to write.
    """

    mounts: list[EngineMount]
    archives: list[tuple[str, bytes]]
    opened: list[str]
    owner: tuple[int, int]

    def fill(self, api: Any, container: str) -> None:
        """Of a container that was created and is not started. Raises MountRejected where the disk refuses."""
        for path, archive in self.archives:
            api.put_archive(container, path, archive)
        if not self.opened:
            return
        places = {m["Destination"]: m["Source"] for m in api.inspect_container(container)["Mounts"]}
        for target in self.opened:
            try:
                os.chown(places[target], *self.owner)
                os.chmod(places[target], ANYBODY)
            except OSError as error:
                raise MountRejected(target, f"cannot be given to its user: {error}") from error


def own_mounts(spec: ContainerSpec, instance: str, stage: Path | None, stack: contextlib.ExitStack) -> Own:
    """
    Args:
        stage: None where nothing can be mounted for the engine: secrets lie on its disk then, out of reach
            of anybody but root, as long as the container exists.

    Raises:
        MountRejected: one of them cannot be given.
    """
    security = spec.options.security
    own = Own([], [], [], security.owner)
    for scratch in spec.options.empty_dirs:
        if scratch.is_in_memory:
            continue
        own.mounts.append(unnamed_volume(scratch.target, instance))
        if not security.has_fixed_root:
            parent, _, name = scratch.target.rpartition("/")
            own.archives.append((parent or "/", archive(security, f"{name}/", ANYBODY)))
        elif stage is not None:  # the engine unpacks nothing beside such a volume
            own.opened.append(scratch.target)
        elif security.uid:
            raise MountRejected(
                scratch.target,
                "with a read-only root file system a directory on disk can be given to who is not root only "
                "by a Homeport that runs as root beside the engine; take one in memory",
            )
    for secret in spec.options.secrets:
        value = _value_of(spec, secret)
        if stage is None:
            own.mounts.append(unnamed_volume(secret.target, instance))
            own.archives.append((secret.target, archive(security, SECRET_FILE, secret.mode, value)))
            continue
        try:
            source = stack.enter_context(_staged_secret(stage, security, value, secret.mode))
        except OSError as error:
            raise MountRejected(secret.target, f"cannot hand it to Docker: {error}") from error
        own.mounts.append(EngineMount(secret.target, source, type="bind", read_only=True))
    return own


def archive(security: Security, name: str, mode: int, value: bytes | None = None) -> bytes:
    """With one entry: a file, or a directory, which gives one that is there its owner and permissions."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE if value is None else tarfile.REGTYPE
        entry.size, entry.mode = len(value or b""), mode
        entry.uid, entry.gid = security.owner
        tar.addfile(entry, io.BytesIO(value or b""))
    return buffer.getvalue()


@contextlib.contextmanager
def _staged_secret(stage: Path, security: Security, value: bytes, mode: int) -> Generator[str]:
    """
    A directory in memory with the file of a secret, for as long as the block lasts; afterwards only
    the container that was given it has it. It is never on a disk, and nobody else finds a path to it.
    """
    with staging_point(stage) as point:
        flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
        mount("tmpfs", point, flags, kind="tmpfs", options=f"size={SECRET_MIB}m,mode={LISTED:o}")
        mount("none", point, MS_PRIVATE)
        file = os.open(point / SECRET_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(value)
            os.fchown(file, *security.owner)
            os.fchmod(file, mode)
        yield str(point)


def _value_of(spec: ContainerSpec, secret: SecretVolume) -> bytes:
    found = dict(spec.secret_values)
    if secret.secret not in found:
        raise MountRejected(secret.target, f"secret {secret.secret!r} has no value")
    return found[secret.secret].encode()
