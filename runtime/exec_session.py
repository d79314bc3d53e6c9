"""A command that runs beside a container's own, in its surroundings, while somebody is connected to it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

CANNOT_RUN, NOT_FOUND, KILLED = 126, 127, 137  # exit codes, as shells have them
HANG_UP_S = 2.0  # from SIGHUP to SIGKILL, once nobody is connected any more


class Output(IntEnum):
    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class ExecEnd:
    """
    Args:
        exit_code: 128+n after signal n; 126 or 127 where there was nothing to run.
        error: why it could not be run, or was ended by something else; else "".
    """

    exit_code: int
    error: str = ""


class ExecSession(Protocol):
    """One use, by one task that reads and one that writes."""

    def output(self) -> AsyncGenerator[tuple[Output, bytes]]:
        """
        What the command writes, in pieces of 64 KiB at most; with a terminal all of it is
        STDOUT. It waits for its reader. Ends once the command has ended and all is told.
        Raises DriverError when the runtime is lost.
        """
        ...

    async def write(self, data: bytes) -> None:
        """To its standard input; waits while the command does not read. Ended or closed already is fine."""
        ...

    async def close_stdin(self) -> None:
        """The command finds the end of its input. At a terminal that is what Ctrl-D types."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Of its terminal, if it has one."""
        ...

    async def end(self) -> ExecEnd:
        """How it ended; asked after `output`. Raises DriverError when the runtime is lost."""
        ...

    async def close(self) -> None:
        """Hang up: a command that still runs gets SIGHUP, and SIGKILL after HANG_UP_S. Twice is fine."""
        ...


class Refused:
    """The session of a command that could not be run."""

    def __init__(self, end: ExecEnd) -> None:
        self._end = end

    async def output(self) -> AsyncGenerator[tuple[Output, bytes]]:
        for nothing in ():
            yield nothing

    async def write(self, data: bytes) -> None:
        return

    async def close_stdin(self) -> None:
        return

    async def resize(self, columns: int, rows: int) -> None:
        return

    async def end(self) -> ExecEnd:
        return self._end

    async def close(self) -> None:
        return
