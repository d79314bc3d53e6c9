"""Ports of workloads that run to an end, which the gateway leads to; their addresses, without I/O."""

import ipaddress
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ..errors import Conflict, Invalid
from .ingresses import LABEL, LONGEST_DOMAIN
from .serving import Exposure
from .workload import Attempt, AttemptState, Workload

PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
DEEPEST = 8  # parts of a path; the gateway looks no deeper
ENDPOINTS = "/e"  # below it are endpoints
HOME = ".localhost"  # names that lead to the browser's own machine, without any DNS
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class GatewayNames:
    """
    Where the gateway is.

    Args:
        url: its own, without a path: `http://127.0.0.1:8788`.
        own: further names of the server; a path is looked up on each of them.
    """

    url: str
    own: frozenset[str] = frozenset()

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    def of(self, exposure: Exposure) -> str:
        """The full URL; it ends with "/", so that what a page names beside itself is found below it."""
        parts = self.parts
        authority = f"{exposure.host}:{parts.port}" if exposure.host else parts.netloc
        return f"{parts.scheme}://{authority}{exposure.path}/"

    def is_own(self, host: str) -> bool:
        return host == self.parts.hostname or host in self.own or host == "localhost" or _is_address(host)


def default_path(project: str, name: str, port: int, *, is_first: bool) -> str:
    """
    Where a port is that names no URL of its own: below the project and the workload, so that what is
    told `/${RUNAI_PROJECT}/${RUNAI_JOB_NAME}` finds itself. Source: NVIDIA's page "External access to
    containers" (`https://<CLUSTER_URL>/project-name/workspace-name`); further ones: our own choice.
    """
    return f"/{project}/{name}" if is_first else f"/{project}/{name}/{port}"


def read_url(text: str, field: str, gateway: GatewayNames) -> tuple[str, str]:
    """
    Host and path of a URL that a user asks for, one of them perhaps "".

    Raises:
        Invalid: the gateway cannot lead from there.
    """

    def refuse(why: str) -> Invalid:
        return Invalid(field, f"{text!r} {why}")

    own = gateway.parts
    try:
        parts = urlsplit(text if "://" in text or text.startswith("/") else f"//{text}")
        port = parts.port
    except ValueError as error:
        raise refuse(f"is no URL: {error}") from error
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise refuse("has more than scheme, host, port and path; leave the rest out")
    if parts.scheme and parts.scheme.lower() != own.scheme:
        raise refuse(f"has another scheme than the gateway, which serves {own.scheme}; write {own.scheme}://")
    if port not in (None, own.port):
        raise refuse(f"has another port than the gateway, which listens on {own.port}; leave the port out")
    path = parts.path.rstrip("/")
    if path and (PATH.fullmatch(path) is None or path.count("/") > DEEPEST or _has_dots(path)):
        raise refuse(f"has no path of up to {DEEPEST} parts of letters, digits and '._~-'")
    host = (parts.hostname or "").rstrip(".")
    if host and not gateway.is_own(host):
        if len(host) > LONGEST_DOMAIN or not all(LABEL.fullmatch(label) for label in host.split(".")):
            raise refuse("has no host name that a request could bear")
        if "." not in host:
            raise refuse("has a host name of one part; write it in full, such as notebook.example.com")
        return host, path
    if not path:
        raise refuse("has no path; on the gateway's own address each port needs one, such as /tools/notebook")
    if path == ENDPOINTS or path.startswith(f"{ENDPOINTS}/"):
        raise refuse(f"begins with {ENDPOINTS}, which is for endpoints; choose another path")
    return "", path


def check_path(path: str, field: str, own: str, projects: Collection[str]) -> None:
    """
    Args:
        own: the default path of the workload, below which it may have any.
        projects: names of all.

    Raises:
        Invalid: the path is kept for workloads of a project.
    """
    first = path.split("/")[1]
    if first in projects and not _is_below(path, own):
        raise Invalid(
            field, f"below /{first} are the workloads of project {first}; this one may have {own} and what "
            "is below it, or a path that begins with no project's name",
        )  # fmt: skip


def check_host(host: str, field: str, projects: Collection[str]) -> None:
    """
    Raises:
        Invalid: the name may be that of an endpoint or another workload one day.
    """
    owner = next((p for p in projects if host.endswith(HOME) and host.startswith(f"{p}-")), None)
    if owner is not None:
        raise Invalid(
            field, f"names that begin with {owner}- and end with {HOME} are for endpoints of {owner} and "
            "its workloads, which have them anyhow; choose another",
        )  # fmt: skip


def check_apart(exposures: Sequence[Exposure], fields: Sequence[str]) -> None:
    """
    Raises:
        Invalid: two of one workload have the same address.
    """
    seen: dict[str, str] = {}
    for exposure, field in zip(exposures, fields, strict=True):
        if (other := seen.setdefault(exposure.claim, field)) != field:
            raise Invalid(field, f"{exposure.claim} is what {other} has already; give each its own url")


def check_free(mine: Sequence[Exposure], fields: Sequence[str], others: Iterable[Workload]) -> None:
    """
    Args:
        others: workloads that are not to lose anything.

    Raises:
        Conflict: one of them has the address, or one above or below it.
    """
    for other in others:
        for theirs in other.spec.exposures:
            for exposure, field in zip(mine, fields, strict=True):
                if _clash(exposure, theirs):
                    raise Conflict(
                        f"{field}: {theirs.claim} belongs to workload {other.name} of project "
                        f"{other.workspace}; choose another url"
                    )


def _clash(one: Exposure, other: Exposure) -> bool:
    if one.host or other.host:
        return one.host == other.host
    return _is_below(one.path, other.path) or _is_below(other.path, one.path)


def is_reachable(workload: Workload, attempt: Attempt) -> bool:
    """It runs, and its readiness probe says that it takes requests; of what runs to an end."""
    if attempt.state is not AttemptState.RUNNING or attempt.number < workload.first_attempt:
        return False
    probe = workload.spec.readiness
    return probe is None or (attempt.readiness is not None and attempt.readiness.is_passing)


def is_loopback(host: str) -> bool:
    """What listens there is reached from this machine only."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_below(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}/")


def _has_dots(path: str) -> bool:
    return any(part in (".", "..") for part in path.split("/"))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
