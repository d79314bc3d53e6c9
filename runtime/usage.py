"""What a container uses of CPU and memory, read from the kernel's own files: no call to an engine."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import JSONDecodeError, loads
from pathlib import Path

from .model import Handle

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")
TICKS_PER_S, PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
# Places below /proc/PID/stat's closing parenthesis. Source: proc(5).
SESSION, UTIME, CSTIME, RSS = 3, 11, 14, 21


@dataclass(frozen=True, slots=True)
class Used:
    """`cpu_s`: CPU time since its start, in seconds. `memory_bytes`: without the file cache that can go."""

    cpu_s: float
    memory_bytes: int


ReadUsed = Callable[[Sequence[Handle]], dict[str, Used]]
"""By the handle's name. What cannot be read, such as a container that has just ended, is left out."""


def used_by_containers(handles: Sequence[Handle], root: Path = CGROUP) -> dict[str, Used]:
    """Docker's cgroups of either version; nothing where the host's are not to be seen."""
    found: dict[str, Used] = {}
    for handle in handles:
        for read in (_used_v2, _used_v1):
            try:
                found[handle.name] = read(root, handle.id)
                break
            except (OSError, ValueError, KeyError):
                continue
    return found


def _used_v2(root: Path, container: str) -> Used:
    folders = (root / "system.slice" / f"docker-{container}.scope", root / "docker" / container)
    folder = next((f for f in folders if (f / "cpu.stat").exists()), folders[0])
    cache = _figures(folder / "memory.stat")["inactive_file"]
    return Used(
        _figures(folder / "cpu.stat")["usage_usec"] / 1e6,
        max(0, int((folder / "memory.current").read_text()) - cache),
    )


def _used_v1(root: Path, container: str) -> Used:
    below = ("docker", container)
    memory = root.joinpath("memory", *below)
    if not memory.exists():
        below = ("system.slice", f"docker-{container}.scope")
        memory = root.joinpath("memory", *below)
    cache = _figures(memory / "memory.stat")["total_inactive_file"]
    return Used(
        int(root.joinpath("cpuacct", *below, "cpuacct.usage").read_text()) / 1e9,
        max(0, int((memory / "memory.usage_in_bytes").read_text()) - cache),
    )


def _figures(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def used_by_processes(handles: Sequence[Handle], folders: Path, proc: Path = PROC) -> dict[str, Used]:
    """Each attempt of the process runtime is a session, whose leader its folder names."""
    sessions: dict[int, str] = {}
    for handle in handles:
        try:
            state = loads((folders / handle.name / "state.json").read_text())
            sessions[int(state["child_pid"])] = handle.name
        except (OSError, JSONDecodeError, KeyError, TypeError, ValueError):
            continue
    if not sessions:
        return {}
    found: dict[str, Used] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            name = sessions.get(int(fields[SESSION]))
            if name is None:
                continue
            ticks = sum(int(f) for f in fields[UTIME : CSTIME + 1])  # with those of children that have ended
            before = found.get(name, Used(0.0, 0))
            pages = max(0, int(fields[RSS]))
            found[name] = Used(before.cpu_s + ticks / TICKS_PER_S, before.memory_bytes + pages * PAGE_BYTES)
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked
    return found
