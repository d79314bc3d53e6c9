"""
Probe verdicts as a pure fold, to the kubelet's rules.

Source of the rules: Kubernetes, "Configure Liveness, Readiness and Startup Probes", and
the kubelet's prober (k8s.io/kubernetes pkg/kubelet/prober, worker): initial verdicts,
thresholds in a row, errors of the prober that count for nothing, and the hold after a
liveness failure until there is a new container.
"""

from dataclasses import dataclass, replace
from enum import Enum


class ProbeKind(Enum):
    READINESS = "readiness"
    LIVENESS = "liveness"
    STARTUP = "startup"


class ProbeResult(Enum):
    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"  # the prober itself failed: no word about the container


@dataclass(frozen=True, slots=True)
class HttpGet:
    """A status from 200 to 399 is a success."""

    port: int
    path: str = "/"


@dataclass(frozen=True, slots=True)
class TcpConnect:
    port: int


Handler = TcpConnect | HttpGet


@dataclass(frozen=True, slots=True)
class Probe:
    """
    Args:
        initial_delay_s: from the container's start to the first try.
        period_s: from one try to the next.
        timeout_s: a try that takes longer has failed.
        successes, failures: so many in a row turn the verdict.
    """

    kind: ProbeKind
    handler: Handler
    initial_delay_s: float = 0
    period_s: float = 10
    timeout_s: float = 1
    successes: int = 1
    failures: int = 3


@dataclass(frozen=True, slots=True)
class ProbeState:
    """
    What is known of one probe of one container.

    Args:
        container: the driver's id; another one begins anew.
        verdict: the last one that was reached; UNKNOWN is a start-up probe's before its first.
        latest, in_a_row: the last result that counted, and how often it came since another did.
        due_ms: when the next try is due, Unix milliseconds.
        is_on_hold: a liveness or start-up failure has been told; nothing more until a new container.
    """

    container: str
    verdict: ProbeResult
    due_ms: int
    latest: ProbeResult = ProbeResult.UNKNOWN
    in_a_row: int = 0
    is_on_hold: bool = False

    @property
    def is_passing(self) -> bool:
        return self.verdict is ProbeResult.SUCCESS


INITIAL = {
    ProbeKind.READINESS: ProbeResult.FAILURE,
    ProbeKind.LIVENESS: ProbeResult.SUCCESS,
    ProbeKind.STARTUP: ProbeResult.UNKNOWN,
}


def begin(probe: Probe, state: ProbeState | None, *, container: str, started_at_ms: int) -> ProbeState:
    """The state to go on from: as it was for the same container, also after a restart of the server."""
    if state is not None and state.container == container:
        return state
    due_ms = started_at_ms + round(probe.initial_delay_s * 1000)
    return ProbeState(container, INITIAL[probe.kind], due_ms)


def is_due(probe: Probe, state: ProbeState, startup: ProbeState | None, now_ms: int) -> bool:
    """While a start-up probe has not succeeded the others wait; once it has, it is over."""
    if state.is_on_hold or now_ms < state.due_ms:
        return False
    if probe.kind is ProbeKind.STARTUP:
        return not state.is_passing
    return startup is None or startup.is_passing


def fold(probe: Probe, state: ProbeState, result: ProbeResult, now_ms: int) -> ProbeState:
    """After one try that ended at `now_ms`. Tries that fell due meanwhile are left out, not made up for."""
    period_ms = max(1, round(probe.period_s * 1000))
    missed = max(0, now_ms - state.due_ms) // period_ms
    state = replace(state, due_ms=state.due_ms + (missed + 1) * period_ms)
    if result is ProbeResult.UNKNOWN:
        return state
    in_a_row = state.in_a_row + 1 if result is state.latest else 1
    state = replace(state, latest=result, in_a_row=in_a_row)
    if in_a_row < (probe.failures if result is ProbeResult.FAILURE else probe.successes):
        return state
    ends_container = result is ProbeResult.FAILURE and probe.kind is not ProbeKind.READINESS
    return replace(
        state, verdict=result, is_on_hold=ends_container, in_a_row=0 if ends_container else in_a_row
    )
