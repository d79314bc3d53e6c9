"""Who may use an endpoint."""

import hashlib
import ipaddress

from ..routing import AccessRule
from .checks import Refusal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
UNAUTHORIZED = Refusal(
    401, "unauthorized", "this endpoint needs a valid bearer token", (b"WWW-Authenticate: Bearer\r\n",)
)
FORBIDDEN = Refusal(403, "forbidden", "this address may not use the endpoint")


def networks_of(rule: AccessRule) -> Networks:
    return tuple(ipaddress.ip_network(n, strict=False) for n in rule.networks)


def address_of(host: str) -> Address:
    """An IPv4 client of an IPv6 listener is known by its IPv4 address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def hash_bearer(authorization: bytes) -> str:
    """sha256 of the bearer token, "" where the header holds none."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        return ""
    return hashlib.sha256(token.strip()).hexdigest()


def is_secret(rule: AccessRule, hashed: str) -> bool:
    """It is one of ours: no replica may see it."""
    return hashed in rule.secrets or (rule.tokens is not None and hashed in rule.tokens)


def judge(rule: AccessRule, networks: Networks, client: str, hashed: str) -> Refusal | None:
    """
    None lets the request pass.

    Only hashes are looked up, so how long it takes tells nothing about a token.
    """
    if networks:
        address = address_of(client)
        if not any(address in network for network in networks):
            return FORBIDDEN
    if rule.tokens is not None and hashed not in rule.tokens:
        return UNAUTHORIZED
    return None
