"""Faults that were asked for: nodes that are down, GPUs that fail, an engine that hangs."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .health import Reading, merged


class FaultKind(Enum):
    NODE_DOWN = "node-down"
    GPU_XID = "gpu-xid"
    GPU_LOST = "gpu-lost"
    GPU_ECC = "gpu-ecc"
    GPU_THROTTLE = "gpu-throttle"
    IMAGE_PULL = "image-pull"
    ENGINE_HANG = "engine-hang"
    ENGINE_DOWN = "engine-down"


OF_GPUS = frozenset({FaultKind.GPU_XID, FaultKind.GPU_LOST, FaultKind.GPU_ECC, FaultKind.GPU_THROTTLE})


@dataclass(frozen=True, slots=True)
class Fault:
    """
    In force from the moment it is added until it is cleared.

    Args:
        id: by which it is cleared.
        node: its name, for what happens to a node or to a GPU of it.
        gpu: the UUID.
        code: of the Xid; for `gpu-ecc` how many errors.
        image: fnmatch pattern of the images that cannot be pulled.
        message: what the engine says of it, "" has a sentence of ours.
        added_at_ms: Unix milliseconds.
    """

    id: str
    kind: FaultKind
    node: str = ""
    gpu: str = ""
    code: int = 0
    image: str = ""
    message: str = ""
    added_at_ms: int = 0

    @property
    def reading(self) -> Reading:
        """What a look at its GPU tells, at each look while it lasts."""
        match self.kind:
            case FaultKind.GPU_XID:
                return Reading(xids=(self.code,), detail=self.message)
            case FaultKind.GPU_LOST:
                return Reading(is_lost=True, detail=self.message)
            case FaultKind.GPU_ECC:
                return Reading(ecc_errors=self.code or 1, detail=self.message)
            case FaultKind.GPU_THROTTLE:
                return Reading(throttles=("thermal",), detail=self.message)
            case _:
                return Reading()


class Faults:
    """
    Those in force.

    Args:
        path: where they are kept for the next server: a broken machine is not mended by a restart
            of its server. None keeps none.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._faults: tuple[Fault, ...] = ()
        self._listeners: list[Callable[[], None]] = []
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                self._faults = tuple(_fault_of(told) for told in json.loads(path.read_bytes()))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """In the order in which they were added."""
        return self._faults

    def add(self, fault: Fault) -> None:
        """In place of one of that id. Raises OSError where it cannot be kept; nothing is changed then."""
        self._keep((*(f for f in self._faults if f.id != fault.id), fault))

    def clear(self, fault_id: str | None = None) -> tuple[Fault, ...]:
        """That one, or all. Returns those that were in force."""
        gone = tuple(f for f in self._faults if fault_id in (None, f.id))
        if gone:
            self._keep(tuple(f for f in self._faults if f not in gone))
        return gone

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """It is called after each change. Returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def down_nodes(self) -> frozenset[str]:
        return frozenset(f.node for f in self._faults if f.kind is FaultKind.NODE_DOWN)

    def gpu_readings(self) -> Mapping[str, Reading]:
        """By UUID, of those with a fault only."""
        found: dict[str, list[Reading]] = {}
        for fault in self._faults:
            if fault.kind in OF_GPUS:
                found.setdefault(fault.gpu, []).append(fault.reading)
        return {uuid: merged(readings) for uuid, readings in found.items()}

    def pull_refusal(self, image: str) -> str:
        """Why that image cannot be pulled, or ""."""
        for fault in self._faults:
            if fault.kind is FaultKind.IMAGE_PULL and fnmatchcase(image, fault.image):
                return fault.message or "a fault that was asked for refuses it"
        return ""

    @property
    def engine(self) -> Fault | None:
        """Why the engine does not answer, or None while it does."""
        kinds = (FaultKind.ENGINE_DOWN, FaultKind.ENGINE_HANG)
        return next((f for f in self._faults if f.kind in kinds), None)

    def _keep(self, faults: tuple[Fault, ...]) -> None:
        if self._path is not None:
            write_json(self._path, [asdict(f) | {"kind": f.kind.value} for f in faults])
        self._faults = faults
        for listener in list(self._listeners):
            listener()


def _fault_of(told: dict[str, Any]) -> Fault:
    values: dict[str, Any] = told | {"kind": FaultKind(told["kind"])}
    return Fault(**values)


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all. Raises OSError."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
