"""The engine's socket under another name: its connections can be cut, and it can hang."""

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType

ENGINE = "/var/run/docker.sock"


class Relay:
    """Closed at first, as an engine that is down. `url` is for DOCKER_HOST."""

    def __init__(self, path: Path) -> None:
        self.url, self._path = f"unix://{path}", path
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, bytes] = {}  # what each client last asked for
        self._answered: list[bytes] = []
        self._flows, self._is_hung = threading.Event(), threading.Event()
        self._flows.set()
        self._hang_at = b""

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: type[BaseException] | TracebackType | BaseException | None) -> None:
        self.close()

    def open(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        with self._lock:  # whoever is being accepted is let in before `cut`, or not at all
            listener, self._listener = self._listener, None
        if listener is not None:
            self._path.unlink()
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()
        self.resume()

    def cut(self) -> None:
        """What is held back by then never arrives."""
        with self._lock:
            clients, self._pairs = list(self._pairs), {}
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """As a dockerd after SIGSTOP: it accepts and says nothing."""
        self._flows.clear()

    def hang_at(self, request: bytes) -> None:
        """From the first request on that has these bytes; it does not arrive any more."""
        self._hang_at = request

    def wait_until_hung(self) -> None:
        assert self._is_hung.wait(timeout=30)

    def resume(self) -> None:
        self._hang_at = b""
        self._flows.set()

    def waiting(self, request: bytes) -> int:
        """Connections whose last request has these bytes."""
        with self._lock:
            return sum(request in asked for asked in self._pairs.values())

    def answered(self, request: bytes) -> int:
        """How many requests with these bytes the engine has said something to."""
        with self._lock:
            return sum(request in asked for asked in self._answered)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(ENGINE)
                with self._lock:
                    if self._listener is not listener:
                        client.close()
                        return
                    self._pairs[client] = b""
                for source, sink in ((client, engine), (engine, client)):
                    threading.Thread(target=self._pump, args=(client, source, sink), daemon=True).start()

    def _pump(self, client: socket.socket, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source is client:
                    self._note(client, data)
                self._flows.wait()
                with self._lock:
                    if client not in self._pairs:
                        break
                    if source is not client:
                        self._answered.append(self._pairs[client])
                sink.sendall(data)
        with self._lock:
            self._pairs.pop(client, None)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _note(self, client: socket.socket, data: bytes) -> None:
        with self._lock:
            if client in self._pairs:
                self._pairs[client] = data
        if self._hang_at and self._hang_at in data:
            self.hang()
            self._is_hung.set()
