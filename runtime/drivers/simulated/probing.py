"""Probes of containers of which nothing runs, unless a rule has them answer."""

from ipaddress import IPv4Address, IPv4Network

from ...prober import Prober, SimulatedProber
from ...probes import Handler, ProbeResult
from .answers import NETWORK


class AnswerProber:
    """
    What has HTTP answers is asked; what else is simulated is well while it is up.

    Args:
        network: asks what listens.
        rest: tries what has an address that is not a simulated one; None: that is simulated, too.
    """

    def __init__(self, network: Prober, rest: Prober | None = None) -> None:
        self._network, self._up = network, SimulatedProber()
        self._rest: Prober = rest or self._up

    async def probe(self, handler: Handler, host: str, timeout_s: float) -> tuple[ProbeResult, str]:
        prober = self._network if _answers(host) else self._rest if host else self._up
        return await prober.probe(handler, host, timeout_s)


def _answers(host: str) -> bool:
    try:
        return IPv4Address(host) in IPv4Network(NETWORK)
    except ValueError:
        return False
