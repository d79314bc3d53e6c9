"""The folder of a new attempt, and the supervisor that is started in it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ...errors import LaunchRefused
from ...model import WAITS, ContainerSpec, Mount
from . import supervisor
from .mounts import link_mounts, open_sources
from .names import hosts_file
from .options import check, disk_mounts, job_mount, memory_mounts
from .supervisor.job import Job, JobMount

PROGRAM = Path(supervisor.__file__).with_name("__main__.py")
KEPT_ENV = ("PATH", "LANG", "LD_LIBRARY_PATH")  # nothing else of the server's own reaches a command


def launch(spec: ContainerSpec, root: Path, *, is_privileged: bool) -> "subprocess.Popen[bytes]":
    """
    The supervisor. A second one of the same folder finds the lock taken and leaves: never two.

    Args:
        root: of all attempts' folders.

    Raises:
        LaunchRefused: this runtime cannot give the workers their names.
        MountRejected: nor one of the mounts.
        OSError: a full disk, too many processes.
    """
    folder = root / spec.name
    check(spec, is_privileged=is_privileged)
    with contextlib.ExitStack() as opened:
        if not is_privileged and set(spec.peers) - set(spec.aliases):
            raise LaunchRefused("the process runtime gives workers names only as root")
        # before there is a folder: a refusal leaves nothing
        sources = open_sources(spec.mounts, root, opened, is_privileged=is_privileged)
        memory = memory_mounts(spec, root)
        scratch = disk_mounts(spec, folder)
        sources += open_sources(scratch, root, opened, is_privileged=is_privileged)
        (folder / "work").mkdir(parents=True, exist_ok=True)
        mounts = [*spec.mounts, *scratch]
        job = _job(spec, folder, list(zip(mounts, sources, strict=True)), memory, is_privileged=is_privileged)
        # What a restarted server must know, and no secret: the environment never lies on the disk.
        _write(folder / "spec.json", {**asdict(spec), "env": [], "secret_values": []})
        told = opened.enter_context(_unnamed_file())
        told.write(json.dumps(job).encode())
        told.seek(0)
        # Isolated (-I), or its own modules could hide those of the standard library.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM), str(folder)],
            start_new_session=True,
            env=_kept_environment(),
            cwd=folder,
            stdin=told,
            stdout=subprocess.DEVNULL,
            stderr=opened.enter_context((folder / "supervisor.log").open("ab")),
            pass_fds=sources,
        )


def _job(
    spec: ContainerSpec,
    folder: Path,
    mounts: list[tuple[Mount, int]],
    memory: list[JobMount],
    *,
    is_privileged: bool,
) -> Job:
    """What its mounts and names need besides is made in the folder."""
    home = {"HOME": str(folder / "work"), "CUDA_VISIBLE_DEVICES": ",".join(spec.gpu_uuids)}
    job: Job = {
        "command": list((*spec.command, *spec.args) or WAITS),
        "working_dir": spec.working_dir,
        "env": {**_kept_environment(), **home, **dict(spec.env)},
        "hosts": "",
        "mounts": [],
    }
    if is_privileged:
        job["mounts"] = [*(job_mount(mount, fd) for mount, fd in mounts), *memory]
        if names := dict.fromkeys((*spec.aliases, *spec.peers)):
            hosts = folder / "hosts"
            hosts.write_text(hosts_file(spec.group, names))
            job["hosts"] = str(hosts)
    elif mounts:
        links = link_mounts(folder / "root", [m for m, _ in mounts], [fd for _, fd in mounts])
        job["env"]["HOMEPORT_MOUNT_ROOT"] = str(links)
    return job


def _kept_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT_ENV if name in os.environ}


def _unnamed_file() -> IO[bytes]:
    """In memory where the system can, else on the disk without a name."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("homeport-job"), "w+b")
    return tempfile.TemporaryFile()


def _write(path: Path, value: dict[str, Any]) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(value, default=str))
    draft.chmod(0o600)
    draft.replace(path)
