"""NVIDIA's Multi-Process Service, where its daemon runs: what keeps shares of one GPU apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
DAEMON = "nvidia-cuda-mps-control"
DEFAULT_PIPES = Path("/tmp/nvidia-mps")  # Source: NVIDIA's MPS documentation
COMM_BYTES = 15  # the kernel cuts a process's name there
PIPES_ENV = "CUDA_MPS_PIPE_DIRECTORY"


@dataclass(frozen=True, slots=True)
class Mps:
    """A daemon that runs on this host. `pipes`: the directory by which programs reach it."""

    pipes: Path


def find_mps(proc: Path = PROC, default: Path = DEFAULT_PIPES) -> Mps | None:
    """
    Looks for the daemon's process, whose environment names the directory. Where its process
    cannot be seen, as from inside a container, a control socket that somebody listens on will do.
    """
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if (folder / "comm").read_text().strip() != DAEMON[:COMM_BYTES]:
                continue
            program = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            if Path(program).name != DAEMON:
                continue
            pipes = _pipes_of(folder) or default
        except OSError:  # it ended while we looked, or is not ours to look into
            continue
        if (pipes / "control").exists():
            return Mps(pipes)
    return Mps(default) if _is_bound(proc, default / "control") else None


def _pipes_of(folder: Path) -> Path | None:
    try:
        values = (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # another user's: it has most likely the default
        return None
    name = f"{PIPES_ENV}=".encode()
    found = next((v.removeprefix(name) for v in values if v.startswith(name)), b"")
    return Path(found.decode(errors="replace")) if found else None


def _is_bound(proc: Path, socket: Path) -> bool:
    """The file alone would tell of a daemon that has long ended."""
    try:
        rows = (proc / "net" / "unix").read_text().splitlines()
    except OSError:
        return False
    return socket.exists() and any(row.split(maxsplit=7)[-1] == str(socket) for row in rows)


def limits(mps: Mps, portion: float, memory_mib: Sequence[int]) -> tuple[tuple[str, str], ...]:
    """
    The environment by which a program stays within its share.

    Args:
        portion: of each of its GPUs, 0..1.
        memory_mib: its part of the memory of each of them, in the order in which it sees them.
            They are counted from 0 there, as it sees no others.

    Source: NVIDIA's MPS documentation, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT" and
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE".
    """
    pinned = ",".join(f"{i}={max(1, mib)}M" for i, mib in enumerate(memory_mib))
    return (
        (PIPES_ENV, str(mps.pipes)),
        ("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", pinned),
        ("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", f"{portion * 100:g}"),
    )
