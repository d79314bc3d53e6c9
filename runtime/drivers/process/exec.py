"""Commands beside a workload of the process runtime: the process, its pipes or its terminal."""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from ...clock import Clock
from ...errors import ExecRefused, RuntimeUnavailable
from ...exec_session import HANG_UP_S, ExecEnd, ExecSession, Output, Refused
from . import exec_shim
from .supervisor.state import is_locked, read_state

CHUNK_BYTES = 64 * 1024
QUEUED = 8  # chunks that wait for the reader; the command waits then, too
WATCH_S = 0.1  # so soon the end of the workload is noticed
# What something that outlives the command holds open is read so long and so far, for the command's own rest.
DRAIN_S, DRAIN_BYTES = 0.3, 2**20
END_OF_INPUT = b"\x04"


async def open_exec(clock: Clock, folder: Path, command: tuple[str, ...], *, tty: bool) -> ExecSession:
    """
    Args:
        folder: of the attempt; its supervisor says which process is the workload's.
    """
    state = read_state(folder)
    if "child_pid" not in state or "exit_code" in state or not is_locked(folder):
        raise ExecRefused("its command does not run")
    if sys.platform != "linux":
        raise ExecRefused("the process runtime runs further commands only on Linux, which has /proc")
    job = {
        "command": command,
        "tty": tty,
        "pid": state["child_pid"],
        "ticks": state.get("child_ticks"),
        "parent": os.getpid(),
    }
    try:
        with contextlib.ExitStack() as ours:
            process, told, ends = _spawn(job, tty, ours)
            session = ProcessExec(clock, folder, process)
            ours.pop_all()
    except OSError as error:  # too many processes or files
        raise RuntimeUnavailable("the process runtime", str(error)) from error
    try:
        await session.connect(ends, tty)
        answer = json.loads(await (await _reading(told, session.opened)).read() or b"{}")
    except BaseException:
        await session.close()
        raise
    if answer:
        await session.close()
        if "exit_code" not in answer:
            raise ExecRefused("its command does not run")
        return Refused(ExecEnd(answer["exit_code"], answer["error"]))
    return session


def _spawn(
    job: dict[str, Any], tty: bool, ours: contextlib.ExitStack
) -> tuple["subprocess.Popen[bytes]", int, tuple[int, ...]]:
    """
    The process, where it tells what kept it from its command, and our ends: of its
    terminal, or of its stdin, stdout and stderr. `ours` closes what is ours.
    """
    with contextlib.ExitStack() as theirs:

        def own(fd: int) -> int:
            ours.callback(os.close, fd)
            return fd

        def give(fd: int) -> int:
            theirs.callback(os.close, fd)
            return fd

        told, tell = os.pipe()
        own(told)
        give(tell)
        if tty:
            master, slave = os.openpty()
            ends, given = (own(master),), (give(slave),) * 3
        else:
            (stdin, feed), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
            ends = (own(feed), own(out), own(err))
            given = (give(stdin), give(stdout), give(stderr))
        # Never in its arguments or in a file: what a user types may be a secret.
        order = theirs.enter_context(os.fdopen(os.memfd_create("homeport-exec"), "w+b"))
        order.write(json.dumps(job).encode())
        order.flush()
        order.seek(0)
        process = subprocess.Popen(
            [
                sys.executable, "-I", "-S", exec_shim.__file__,
                str(order.fileno()), str(tell),
            ],
            stdin=given[0], stdout=given[1], stderr=given[2],
            pass_fds=(order.fileno(), tell), start_new_session=True,
        )  # fmt: skip
    return process, told, ends


class ProcessExec:
    """The command leads a session of its own, and so a process group."""

    def __init__(self, clock: Clock, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        self._clock, self._folder, self._process = clock, folder, process
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ended = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._ended, self._note_end)
        self._is_hung_up = False
        self._watch = asyncio.create_task(self._end_with_workload())
        self._readers: list[tuple[Output, asyncio.StreamReader]] = []
        self._stdin: asyncio.StreamWriter | None = None
        self._terminal: int | None = None
        self._drain_bytes = DRAIN_BYTES
        self._error = ""
        self.opened: list[asyncio.BaseTransport] = []

    async def connect(self, ends: tuple[int, ...], tty: bool) -> None:
        if tty:
            (self._terminal,) = ends
            self._readers = [(Output.STDOUT, await _reading(os.dup(self._terminal), self.opened))]
        else:
            for stream, end in zip(Output, ends[1:], strict=True):
                self._readers.append((stream, await _reading(end, self.opened)))
        self._stdin = await _writing(ends[0], self.opened)

    async def output(self) -> AsyncGenerator[tuple[Output, bytes]]:
        said: asyncio.Queue[tuple[Output, bytes] | None] = asyncio.Queue(QUEUED)
        pumps = [asyncio.create_task(self._pump(*reader, said)) for reader in self._readers]
        try:
            for _ in pumps:
                while (piece := await said.get()) is not None:
                    yield piece
        finally:
            for pump in pumps:
                pump.cancel()

    async def _pump(
        self, stream: Output, reader: asyncio.StreamReader, said: "asyncio.Queue[tuple[Output, bytes] | None]"
    ) -> None:
        while data := await self._read(reader):
            await said.put((stream, data))
        await said.put(None)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Empty at the end, and when only others than the command can still write."""
        reading = asyncio.ensure_future(reader.read(CHUNK_BYTES))
        try:
            await asyncio.wait({reading, self._exit}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done() and self._drain_bytes > 0:
                patience = asyncio.ensure_future(self._clock.sleep(DRAIN_S))
                await asyncio.wait({reading, patience}, return_when=asyncio.FIRST_COMPLETED)
                patience.cancel()
            if not reading.done():
                return b""
            data = reading.result()
            if self._exit.done():
                self._drain_bytes -= len(data)
            return data if self._drain_bytes > 0 else b""
        finally:
            reading.cancel()

    async def write(self, data: bytes) -> None:
        if self._stdin is not None:
            with contextlib.suppress(OSError):
                self._stdin.write(data)
                await self._stdin.drain()

    async def close_stdin(self) -> None:
        if self._terminal is not None:
            await self.write(END_OF_INPUT)
        elif self._stdin is not None:
            self._stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        if self._terminal is not None and self._stdin is not None and not self._stdin.is_closing():
            size = struct.pack("4H", rows, columns, 0, 0)
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    async def end(self) -> ExecEnd:
        code = await asyncio.shield(self._exit)
        return ExecEnd(128 - code if code < 0 else code, self._error)

    async def close(self) -> None:
        for transport in self.opened:
            if not isinstance(transport, asyncio.WriteTransport):
                transport.close()
            elif not transport.is_closing() or transport.get_write_buffer_size():
                transport.abort()
        self._is_hung_up = True
        self._signal(signal.SIGHUP)
        patience = asyncio.ensure_future(self._clock.sleep(HANG_UP_S))
        await asyncio.wait({self._exit, patience}, return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        self._signal(signal.SIGKILL)
        await asyncio.shield(self._exit)
        self._watch.cancel()

    async def _end_with_workload(self) -> None:
        while is_locked(self._folder):
            await self._clock.sleep(WATCH_S)
        if not self._exit.done():
            self._error, self._is_hung_up = "it was ended, since its container has ended", True
            self._signal(signal.SIGKILL)

    def _note_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ended)
        os.close(self._ended)
        if self._is_hung_up:
            self._signal(signal.SIGKILL)  # what it has started and left; its number is still its own
        self._exit.set_result(self._process.wait())

    def _signal(self, number: int) -> None:
        if not self._exit.done():  # its number is its own until it is waited for
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class _Quiet(asyncio.StreamReaderProtocol):
    """A terminal whose other side is closed ends with an I/O error, which is no more than its end."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None)


async def _reading(fd: int, opened: list[asyncio.BaseTransport]) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(CHUNK_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: _Quiet(reader), os.fdopen(fd, "rb", 0))
    opened.append(transport)
    return reader


async def _writing(fd: int, opened: list[asyncio.BaseTransport]) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    unread = asyncio.StreamReader()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(unread), os.fdopen(fd, "wb", 0)
    )
    opened.append(transport)
    return asyncio.StreamWriter(transport, protocol, None, loop)
