"""Networks of one instance: a bridge where nobody hears the others, and one of its own per group."""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from ..errors import DriverError, LaunchRefused
from .docker_engine import Engine

log = logging.getLogger(__name__)
GROUP_PREFIX = 26  # 61 members; Docker's own pools end after about 30 networks
ROUTES = Path("/proc/net/route")
GROUP_LABEL = "homeport.group"


class Networks:
    """Addressed by id everywhere: to Docker two networks may bear one name."""

    def __init__(self, engine: Engine, instance: str, pool: str) -> None:
        self._engine, self._instance = engine, instance
        self._pool = IPv4Network(pool)
        if self._pool.prefixlen > GROUP_PREFIX:
            raise ValueError(f"a network pool must hold a /{GROUP_PREFIX}, {pool} does not")
        self._lock = asyncio.Lock()
        self._bridge_id: str | None = None

    async def id_of(self, group: str) -> str:
        """The network of `group`, the instance's bridge for ""; made when missing."""
        async with self._lock:
            if group:
                return await self._engine.call("call", self._find_or_make_group, group)
            if self._bridge_id is None:
                self._bridge_id = await self._engine.call("call", self._find_or_make_bridge)
            return self._bridge_id

    def forget(self) -> None:
        """Somebody removed what we knew of (`docker network prune`)."""
        self._bridge_id = None

    async def list_groups(self) -> Sequence[str]:
        found = await self._engine.call("list", self._owned)
        return sorted({network["Labels"][GROUP_LABEL] for network in found if _is_group(network)})

    async def remove_group(self, group: str) -> None:
        async with self._lock:
            await self._engine.call("call", self._remove, group)

    async def purge(self) -> None:
        async with self._lock:
            self.forget()
            await self._engine.call("call", self._remove, None)

    def _owned(self, **labels: str) -> list[dict[str, Any]]:
        wanted = {"homeport.instance": self._instance, **labels}
        return self._engine.quick.networks(filters={"label": [f"{k}={v}" for k, v in wanted.items()]})

    def _name(self, group: str) -> str:
        return f"homeport-{self._instance}" + (f"-{group}" if group else "")

    def _find_or_make_bridge(self) -> str:
        for network in self._owned():
            if not _is_group(network):
                return network["Id"]
        made = self._engine.slow.create_network(
            self._name(""),
            driver="bridge",
            options={"com.docker.network.bridge.enable_icc": "false"},
            labels={"homeport.instance": self._instance},
        )
        return made["Id"]

    def _find_or_make_group(self, group: str) -> str:
        for network in self._owned(**{GROUP_LABEL: group}):
            return network["Id"]
        taken = [*routed(ROUTES), *self._addresses()]
        for subnet in self._pool.subnets(new_prefix=GROUP_PREFIX):
            if any(subnet.overlaps(other) for other in taken):
                continue
            try:
                made = self._engine.slow.create_network(
                    self._name(group),
                    driver="bridge",
                    ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]),
                    labels={"homeport.instance": self._instance, GROUP_LABEL: group},
                )
            except APIError as error:
                text = error.explanation or str(error)
                if "overlaps" not in text:  # else: taken by somebody at this moment
                    raise LaunchRefused(f"cannot make a network for {group!r}: {text}") from error
                log.info("%s is taken, the next one is tried: %s", subnet, text)
                continue
            return made["Id"]
        raise LaunchRefused(
            f"no free /{GROUP_PREFIX} is left in the network pool {self._pool}: "
            "every one is taken by a Docker network or a route of this host"
        )

    def _addresses(self) -> Iterator[IPv4Network]:
        for network in self._engine.quick.networks():
            for config in network["IPAM"].get("Config") or ():
                subnet = ip_network(config.get("Subnet") or "::/128", strict=False)
                if isinstance(subnet, IPv4Network):
                    yield subnet

    def _remove(self, group: str | None) -> None:
        """One group's network; all of the instance's for None."""
        for network in self._owned() if group is None else self._owned(**{GROUP_LABEL: group}):
            with contextlib.suppress(NotFound):
                try:
                    self._engine.slow.remove_network(network["Id"])
                except NotFound:
                    raise
                except APIError as error:  # 403: it has endpoints
                    raise DriverError(f"cannot remove {network['Name']}: {error.explanation}") from error


def _is_group(network: dict[str, Any]) -> bool:
    return GROUP_LABEL in (network.get("Labels") or {})


def routed(table: Path) -> Collection[IPv4Network]:
    """What the host has routes to, without the default route."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:  # not Linux
        return ()
    found = (line.split() for line in lines if line.strip())
    networks = (IPv4Network((_address(f[1]), str(_address(f[7]))), strict=False) for f in found)
    return [network for network in networks if network.prefixlen > 0]


def _address(field: str) -> IPv4Address:
    """The kernel prints the word as it lies in memory."""
    return IPv4Address(bytes.fromhex(field)[::-1])
