"""What a command has for itself here: directories below its attempt's own; and, as root, memory."""

from pathlib import Path

from ...container_options import SECRET_FILE, ContainerOptions, Refusal
from ...errors import LaunchRefused, MountRejected
from ...model import ContainerSpec, Mount
from .mounts import check_hides_nothing, check_target
from .supervisor.job import JobMount

SECRET_MIB = 1  # a secret has 128 KiB at most
ANYBODY, LISTED = 0o777, 0o755
ELSEWHERE = "start the server with --runtime docker"


def refusal(options: ContainerOptions, *, is_privileged: bool) -> Refusal | None:
    """The first thing that cannot be given: commands run as who runs Homeport, on the host's own files."""
    security = options.security
    asked = {
        "uid": security.uid is not None,
        "gid": security.gid is not None,
        "groups": bool(security.groups),
        "is_never_root": security.is_never_root and is_privileged,
        "has_fixed_root": security.has_fixed_root,
        "capabilities": bool(security.capabilities),
        "may_gain_privileges": security.may_gain_privileges is False,
        "has_tty": options.has_tty,
    }
    for part, is_asked in asked.items():
        if is_asked:
            return Refusal(part, f"the process runtime cannot give it, having no containers; {ELSEWHERE}")
    if is_privileged:
        return None
    needs = {
        "secrets": bool(options.secrets),
        "home": bool(options.home),
        "empty_dirs": any(one.is_in_memory for one in options.empty_dirs),
    }
    for part, is_asked in needs.items():
        if is_asked:
            return Refusal(part, f"the process runtime mounts memory and homes only as root; {ELSEWHERE}")
    return None


def check(spec: ContainerSpec, *, is_privileged: bool) -> None:
    if (found := refusal(spec.options, is_privileged=is_privileged)) is not None:
        raise LaunchRefused(f"{found.part}: {found.why}")


def disk_mounts(spec: ContainerSpec, folder: Path) -> tuple[Mount, ...]:
    """
    EmptyDir on disk: directories below the attempt's folder, which go with it.

    Args:
        folder: of the attempt.
    """
    on_disk = [one for one in spec.options.empty_dirs if not one.is_in_memory]
    found: list[Mount] = []
    for index, one in enumerate(on_disk):
        check_target(Mount(one.target, folder))
        place = folder / "scratch" / str(index)
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(ANYBODY)
        found.append(Mount(one.target, folder / "scratch", f"/{index}"))
    return tuple(found)


def memory_mounts(spec: ContainerSpec, own: Path) -> list[JobMount]:
    """
    EmptyDir in memory, and secrets, which the command mounts in its own namespace as it begins.

    Args:
        own: where the process runtime keeps its files, which no mount may hide.
    """
    found = [
        _in_memory(own, one.target, one.size_mib or spec.memory_mib, ANYBODY)
        for one in spec.options.empty_dirs
        if one.is_in_memory
    ]
    values = dict(spec.secret_values)
    for one in spec.options.secrets:
        if one.secret not in values:
            raise MountRejected(one.target, f"secret {one.secret!r} has no value")
        mount = _in_memory(own, one.target, SECRET_MIB, LISTED)
        mount["is_read_only"] = True
        mount["files"] = [{"name": SECRET_FILE, "text": values[one.secret], "mode": one.mode}]
        found.append(mount)
    return found


def _in_memory(own: Path, target: str, size_mib: int, mode: int) -> JobMount:
    check_target(Mount(target, None))
    check_hides_nothing(target, own)
    return job_mount(Mount(target, None), -1, size_mib, mode)


def job_mount(mount: Mount, source_fd: int, size_mib: int = 0, mode: int = 0) -> JobMount:
    """For the supervisor."""
    return {
        "target": mount.target.rstrip("/"), "source_fd": source_fd, "is_read_only": mount.is_read_only,
        "size_mib": size_mib, "mode": mode, "files": [],
    }  # fmt: skip
