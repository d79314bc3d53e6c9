"""Ingresses: a domain whose requests are shared out among endpoints. Their rules, without I/O."""

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import Invalid

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
LONGEST_DOMAIN = 253


@dataclass(frozen=True, slots=True)
class IngressShare:
    """
    Args:
        endpoint: its name, in the workspace of the ingress; it may have been removed since.
        weight: beside those of the others; 0 gets nothing.
        balancing: among its replicas, as `routing.Balancing` names it; None: as the endpoint says.
    """

    endpoint: str
    weight: int = 100
    balancing: str | None = None
    choice_count: int | None = None


@dataclass(frozen=True, slots=True)
class Ingress:
    """
    Args:
        domain: its key, in lower case; one workspace has it.
        is_rate_limited: it takes as many requests a minute as the server's setting says.
        needs_workspace_token: a request needs one, whatever the endpoint asks for.
        addresses: IP addresses and networks that may ask; empty is everybody.
        version: +1 with each change.
        extras: the request's spec as it came, to be given back.
    """

    domain: str
    workspace: str
    owner: str
    created_at_ms: int
    modified_at_ms: int
    modified_by: str
    shares: tuple[IngressShare, ...] = ()
    is_rate_limited: bool = False
    needs_workspace_token: bool = False
    addresses: tuple[str, ...] = ()
    version: int = 1
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])


def checked_domain(text: str, own: Collection[str] = (), own_domains: Collection[str] = ()) -> str:
    """
    The domain as it is kept.

    Args:
        own: names of the server itself, which no ingress may take.
        own_domains: nor may it take these, or anything below them.

    Raises:
        Invalid: it is no name that a request's Host could be matched with.
    """

    def refuse(why: str) -> Invalid:
        return Invalid("spec.domain_name", f"{text!r} {why}")

    name = key_of(text)
    if not name.isascii():
        raise refuse("has letters that no Host header has; write it in its xn-- form")
    if "*" in name:
        raise refuse("has a wildcard; make one ingress for each name")
    if _is_address(name):
        raise refuse("is an address; an ingress needs a name")
    labels = name.split(".")
    if len(name) > LONGEST_DOMAIN or not all(LABEL.fullmatch(label) for label in labels):
        raise refuse("is no domain name; write it without scheme, port and path, for example api.example.com")
    if len(labels) < 2:
        raise refuse("has one part only; write it in full, for example api.example.com")
    for taken in own_domains:
        if name == taken or name.endswith("." + taken):
            raise refuse(f"belongs to Homeport itself, as every name below {taken!r} does; choose another")
    if name in {o.lower() for o in own}:
        raise refuse("is a name of this server; choose another")
    return name


def key_of(domain: str) -> str:
    """As it is kept and looked up."""
    return domain.strip().rstrip(".").lower()


def check_shares(
    shares: Sequence[IngressShare], known: Collection[str], before: Collection[str] = ()
) -> None:
    """
    Args:
        known: names of the workspace's endpoints.
        before: endpoints that it named already, which may have been removed since.

    Raises:
        Invalid: what would send no request anywhere, or to a place that is not there.
    """
    seen: set[str] = set()
    for index, share in enumerate(shares):
        where = f"spec.endpoints[{index}].deployment"
        if share.endpoint in seen:
            raise Invalid(where, f"{share.endpoint!r} is named twice; name it once, with its whole weight")
        seen.add(share.endpoint)
        if share.endpoint not in known and share.endpoint not in before:
            there = f"there are {', '.join(sorted(known))}" if known else "there is none"
            raise Invalid(where, f"no endpoint named {share.endpoint!r}; {there}")
    if shares and not any(share.weight for share in shares):
        raise Invalid("spec.endpoints", "every weight is 0; give at least one endpoint more than that")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name.replace(".", "").isdigit()  # 2130706433 and 127.1 are read as addresses, too
    return True
