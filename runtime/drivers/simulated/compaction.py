"""What of the simulated machine's journal still matters, and a file of just that in its place."""

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIRST_PORT, PORTS = 20_000, 10_000
COMPACTED = "compacted"  # of the line that stands for all that was left out
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
CHUNK = 1 << 20


def any_port(ordinal: int, index: int) -> int:
    """The number that is shown where any would do: of a machine's n-th container, for one of its ports."""
    return FIRST_PORT + (ordinal + index) % PORTS


@dataclass(slots=True)
class _Kept:
    """Lines of a container that is there; b"": there is none."""

    create: bytes
    stop: bytes = b""
    pause: bytes = b""


@dataclass(slots=True)
class _Machine:
    """What is known of one instance. `ordinal`: of its next container."""

    ordinal: int = 0
    there: dict[str, _Kept] = field(default_factory=dict[str, _Kept])
    groups: dict[str, None] = field(default_factory=dict[str, None])
    images: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])

    def add(self, line: bytes, record: dict[str, Any]) -> None:
        name = record["name"]
        match record["op"]:
            case "create":
                self._create(line, record)
            case "stop":
                self.there[name].stop = line
            case "pause":
                self.there[name].pause = line
            case "resume":
                self.there[name].pause = b""
            case "remove":
                del self.there[name]
            case "remove_group":
                del self.groups[name]
            case op if op == COMPACTED:
                self.ordinal = record["ordinal"]
                self.groups |= dict.fromkeys(record["groups"])
                self.images |= {node: dict.fromkeys(images) for node, images in record["images"].items()}
            case op:
                raise ValueError(f"the journal of the simulated machine holds an unknown {op!r}")

    def _create(self, line: bytes, record: dict[str, Any]) -> None:
        if any(p["host_port"] == 0 for p in record["ports"]):
            # Its number follows from how many there were before it, most of which are left out.
            ports = [
                port | {"host_port": any_port(self.ordinal, index)} if port["host_port"] == 0 else port
                for index, port in enumerate(record["ports"])
            ]
            line = json.dumps(record | {"ports": ports}).encode()
        self.ordinal += 1
        self.there[record["name"]] = _Kept(line)
        if record["group"]:
            self.groups[record["group"]] = None
        if image := record.get("image"):
            self.images.setdefault(record.get("node", ""), {})[image] = None

    def lines(self, instance: str) -> Iterator[bytes]:
        told = {
            "op": COMPACTED, "instance": instance, "name": "", "ordinal": self.ordinal - len(self.there),
            "groups": list(self.groups), "images": {node: list(each) for node, each in self.images.items()},
        }  # fmt: skip
        yield json.dumps(told).encode()
        for kept in self.there.values():
            yield from filter(None, (kept.create, kept.stop, kept.pause))


class Ledger:
    """Folds a journal, line by line. `seen` counts them; `live` containers that are there."""

    def __init__(self) -> None:
        self.seen = 0
        self._machines: dict[str, _Machine] = {}

    def add(self, line: bytes, record: dict[str, Any]) -> None:
        """Raises ValueError: nobody knows what the line does."""
        self.seen += 1
        self._machines.setdefault(record["instance"], _Machine()).add(line, record)

    @property
    def live(self) -> int:
        return sum(len(machine.there) for machine in self._machines.values())

    def lines(self) -> Iterator[bytes]:
        """Those from which the same follows as from all that it has seen."""
        for instance, machine in self._machines.items():
            yield from machine.lines(instance)


class NewFile:
    """
    What is to take a journal's place. A server that is killed leaves the old file or the new one, both whole.

    Args:
        upto: bytes of the old file that it stands for. What is added there later is copied at the end.
    """

    def __init__(self, path: Path, upto: int) -> None:
        self._path, self._upto = path, upto
        self._part = path.with_name(f"{path.name}.part")
        self._part.unlink(missing_ok=True)  # of a server that was killed
        self._file = os.open(self._part, FLAGS, 0o600)

    def write(self, lines: Iterable[bytes]) -> int:
        """How many there were. Raises OSError."""
        count, waiting = 0, bytearray()
        for line in lines:
            count += 1
            waiting += line + b"\n"
            if len(waiting) >= CHUNK:
                write_all(self._file, bytes(waiting))
                waiting.clear()
        write_all(self._file, bytes(waiting))
        os.fsync(self._file)
        return count

    def take_place(self) -> int:
        """The open file, to be gone on with. Raises OSError: the old file is there as before."""
        with self._path.open("rb") as old:
            old.seek(self._upto)
            while data := old.read(CHUNK):
                write_all(self._file, data)
        os.fsync(self._file)
        os.replace(self._part, self._path)
        with contextlib.suppress(OSError):  # the new file is in its place, if not for good yet
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return self._file

    def drop(self) -> None:
        os.close(self._file)
        self._part.unlink(missing_ok=True)


class Rewriting:
    """
    Makes a new file while the old one is written on, in a thread of its own: it reads all there is.

    Raises:
        OSError: the new file cannot be made.
    """

    def __init__(self, path: Path, upto: int) -> None:
        self._path, self._upto = path, upto
        self._new = NewFile(path, upto)
        self._is_left = False
        self._written = 0  # 0: it has failed
        self._thread = threading.Thread(target=self._run, name="compacts the simulated journal", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            ledger = Ledger()
            for line in self._old():
                if self._is_left:
                    return
                ledger.add(line, json.loads(line))
            self._written = self._new.write(ledger.lines())

    def _old(self) -> Iterator[bytes]:
        left = self._upto
        with self._path.open("rb") as old:
            while left > 0 and (line := old.readline()):
                left -= len(line)
                yield line[:-1]

    def finish(self) -> tuple[int, int] | None:
        """The open new file, once it is in place, and its lines of then; None: the old one stays."""
        self._thread.join()
        if not self._written:
            self._new.drop()
            return None
        try:
            return self._new.take_place(), self._written
        except OSError:
            self._new.drop()
            return None

    def leave(self) -> None:
        """The old file stays."""
        self._is_left = True
        self._thread.join()
        self._new.drop()


def write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
