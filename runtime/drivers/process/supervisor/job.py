"""What the driver tells the supervisor, as JSON on its stdin."""

from typing import TypedDict


class JobFile(TypedDict):
    """A file that is written before the command begins."""

    name: str
    text: str
    mode: int


class JobMount(TypedDict):
    """One mount of a command that has mounts of its own."""

    target: str  # absolute, no slash at its end
    source_fd: int  # a directory that the driver proved to lie inside its root; -1: it is memory
    is_read_only: bool
    size_mib: int  # of memory, as are the others
    mode: int
    files: list[JobFile]


class Job(TypedDict):
    command: list[str]
    working_dir: str  # "": the attempt's own
    env: dict[str, str]
    hosts: str  # the file that is its /etc/hosts; "": the host's
    mounts: list[JobMount]
