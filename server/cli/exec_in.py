"""`homeport exec-in`: a command in a running replica, at this terminal."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .client import NAME, credentials, data_dir_of, data_dir_option

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

READ_BYTES = 32 * 1024
OPEN_S = 30  # a busy machine takes a while to agree on TLS; where nobody listens it is known at once
LOST = 255  # as ssh has it: the connection broke, and nobody knows how the command ended


@click.command("exec-in", short_help="Run a command in a running replica.")
@data_dir_option
@click.argument("name", type=NAME)
@click.option("--replica", help="In this one; needed where several run.")
@click.option(
    "-t", "--tty/--no-tty", default=None, help="At a terminal, or not.  [default: as this command is]"
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_in(
    data_dir: Path | None, name: str, replica: str | None, tty: bool | None, command: tuple[str, ...]
) -> None:
    """
    Run COMMAND in a running replica of a workload: `homeport exec-in NAME -- COMMAND`.

    The exit status is the command's own. Its input and output are this command's, and it
    ends when this command does.
    """
    from urllib.parse import quote, urlencode

    if tty is None:
        tty = os.isatty(0) and os.isatty(1)
    query: list[tuple[str, str]] = [("command", word) for word in command]
    query += [("tty", "true")] if tty else []
    query += [("replica", replica)] if replica else []
    path = f"exec/{quote(name, safe='')}?{urlencode(query)}"
    values = credentials(data_dir_of(data_dir))
    open_standard()
    with leaving_in_order(), contextlib.closing(connect(values, path)) as connection:
        sys.exit(Session(connection, tty=tty).run())


def open_standard() -> None:
    """Whoever closed one of the three must not find our connection in its place."""
    for standard in (0, 1, 2):
        try:
            os.fstat(standard)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def connect(values: dict[str, str], path: str) -> "ClientConnection":
    import json

    from websockets.exceptions import InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    from ..exec_channels import MAX_FRAME_BYTES, SUBPROTOCOL
    from ..tls import trusting

    base = values["LEPTON_WORKSPACE_URL"].partition("/api/")[0]
    more: dict[str, Any] = {"ssl": trusting(values.get("SSL_CERT_FILE"))} if base.startswith("https") else {}
    try:
        return connect(
            f"ws{base.removeprefix('http')}/homeport/{path}",
            additional_headers={"Authorization": f"Bearer {values['LEPTON_WORKSPACE_TOKEN']}"},
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,  # the server is this machine's, whatever proxy leads elsewhere
            max_size=MAX_FRAME_BYTES,
            max_queue=16,
            open_timeout=OPEN_S,
            ping_timeout=None,  # a server whose command does not read answers late
            close_timeout=1,
            **more,
        )
    except InvalidStatus as error:
        try:
            told = json.loads(error.response.body or b"")["message"]
        except (ValueError, KeyError):
            told = str(error)
        raise click.ClickException(told) from error
    except (InvalidHandshake, EOFError) as error:
        raise click.ClickException(f"{base} gave no answer that can be used: {error}") from error
    except OSError as error:
        raise click.ClickException(f"no server answers at {base}; start one with `homeport serve`") from error


@contextlib.contextmanager
def leaving_in_order() -> Generator[None]:
    """Being told to end is an exception here, so that the terminal is put back."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # whoever read our output has had enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains at its end
        sys.exit(128 + signal.SIGPIPE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Session:
    """
    The main thread writes what comes, one other sends what is typed and how large the
    window is: a signal's handler must not send, it may interrupt one who does.
    """

    def __init__(self, connection: "ClientConnection", *, tty: bool) -> None:
        self._connection, self._tty = connection, tty
        self._resized, self._note_resized = os.pipe()

    def run(self) -> int:
        """The exit status."""
        from websockets.exceptions import ConnectionClosed

        with contextlib.ExitStack() as stack:
            if self._tty:
                stack.enter_context(self._following_the_window())
                if os.isatty(0):
                    stack.enter_context(raw_terminal())
            threading.Thread(target=self._send, name="exec-in-stdin", daemon=True).start()
            try:
                code, told = self._receive()
            except ConnectionClosed as error:
                reason = error.rcvd.reason if error.rcvd is not None else ""
                code, told = LOST, f"the connection was lost{f': {reason}' if reason else ''}"
        if told:
            click.echo(f"Error: {told}", err=True)
        return LOST if code is None else code

    def _receive(self) -> tuple[int | None, str]:
        from ..exec_channels import STATUS, STDERR, STDOUT, read_status

        sinks = {channel: os.fdopen(fd, "wb", closefd=False) for channel, fd in ((STDOUT, 1), (STDERR, 2))}
        while True:
            frame = self._connection.recv()
            if not isinstance(frame, bytes) or not frame:
                continue
            if frame[0] == STATUS:
                return read_status(frame[1:])
            if (sink := sinks.get(frame[0])) is not None and len(frame) > 1:
                sink.write(frame[1:])
                sink.flush()

    def _send(self) -> None:
        from websockets.exceptions import ConnectionClosed

        from ..exec_channels import CLOSE, STDIN

        watched = [0, self._resized]
        with contextlib.suppress(ConnectionClosed):
            while True:
                ready = select.select(watched, [], [])[0]
                if self._resized in ready:
                    os.read(self._resized, 512)
                    self._send_size()
                if 0 not in ready:
                    continue
                try:
                    data = os.read(0, READ_BYTES)
                except OSError:  # its terminal is gone
                    data = b""
                self._connection.send(bytes([STDIN]) + data if data else bytes([CLOSE, STDIN]))
                if not data:
                    watched.remove(0)

    def _send_size(self) -> None:
        from ..exec_channels import resize_frame

        for terminal in (1, 0, 2):
            with contextlib.suppress(OSError):
                size = os.get_terminal_size(terminal)
                return self._connection.send(resize_frame(size.columns, size.lines))

    @contextlib.contextmanager
    def _following_the_window(self) -> Generator[None]:
        def note(*_: object) -> None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._note_resized, b"w")

        os.set_blocking(self._note_resized, False)
        before = signal.signal(signal.SIGWINCH, note)
        note()
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, before)


@contextlib.contextmanager
def raw_terminal() -> Generator[None]:
    """Every key goes to the command, Ctrl-C too; as it was again at the end."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
