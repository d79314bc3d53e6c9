"""What tests and demos may move: faults, the rules of simulated containers, the clock."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.clock import Clock, Steerable, SteeredClock, SystemClock, VirtualClock
from ..runtime.faults import Faults
from .errors import Conflict, StoreRefused

if TYPE_CHECKING:
    from ..runtime.drivers.simulated import RuleBook


@dataclass(frozen=True, slots=True)
class Levers:
    """
    Args:
        runtime: its kind, for what is said about a lever that is not there.
        faults, clock: None where this server may not be disturbed. rules: None where nothing is simulated.
        simulated_nodes: the names of those that can be taken down.
    """

    runtime: str
    faults: Faults | None = None
    rules: "RuleBook | None" = None
    clock: Steerable | None = None
    simulated_nodes: Collection[str] = ()

    def get_faults(self) -> Faults:
        """Raises Conflict where it is not there; so do the others."""
        if self.faults is None:
            raise self._missing("faults are", "--testing or --runtime simulated")
        return self.faults

    def get_rules(self) -> "RuleBook":
        if self.rules is None:
            raise self._missing("rules are", "--runtime simulated, or simulated nodes in a --seed file")
        return self.rules

    def get_clock(self) -> Steerable:
        if self.clock is None:
            raise self._missing("a clock that can be moved is", "--testing or --runtime simulated")
        return self.clock

    def _missing(self, what: str, remedy: str) -> Conflict:
        return Conflict(
            f"{what} not for the {self.runtime} runtime as it was started; start the server with {remedy}"
        )


def open_clock(data_dir: Path, *, is_movable: bool) -> Clock:
    """
    The machine's, unless it may be moved, or an earlier server's on this directory has been.

    Raises:
        StoreRefused: where it was moved to cannot be read.
    """
    kept = data_dir / "clock.json"
    if not is_movable and not kept.exists():
        return SystemClock()
    try:
        return SteeredClock(kept=kept, is_movable=is_movable)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreRefused(
            f"{kept} cannot be read: {error}; it says where this server's time was moved to. Mend it, or "
            "remove it: time then is the machine's, and what was written later lies in the future"
        ) from error


def steerable(clock: Clock) -> Steerable | None:
    if isinstance(clock, SteeredClock):
        return clock if clock.is_movable else None
    return clock if isinstance(clock, VirtualClock) else None
