"""Paths of the gateway's own address that lead to exposed ports, looked up by their first parts."""

from typing import TYPE_CHECKING

from ..routing import LOCAL_DOMAIN, Route
from .checks import Refusal, Request, host_name

if TYPE_CHECKING:
    from .endpoint import Endpoint

BROWSES = b"sec-fetch-dest: document"  # a browser says so of a page that its user goes to
THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "[::1]"})
DEEPEST = 8  # parts of a prefix; a longer path costs no more to look up


class Prefixes:
    """Of several that a path begins with, the longest has it."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}

    def __bool__(self) -> bool:
        return bool(self._endpoints)

    def put(self, prefix: str, endpoint: "Endpoint") -> None:
        self._endpoints[prefix] = endpoint

    def remove(self, prefix: str) -> None:
        self._endpoints.pop(prefix, None)

    def find(self, target: bytes) -> "Endpoint | None":
        """
        Args:
            target: path and query.
        """
        path = target.partition(b"?")[0].decode("latin-1")
        parts = path.split("/", DEEPEST + 1)[: DEEPEST + 1]
        for count in range(len(parts), 1, -1):
            if (found := self._endpoints.get("/".join(parts[:count]))) is not None:
                return found
        return None


def own_origin(request: Request, route: Route, scheme: bytes) -> Refusal | None:
    """
    Where somebody who browses is sent: to a name that no other workload has, so that the page may use
    cookies and storage which no other page can. None: it is no browser, or such a name would lead it to
    its own machine, which is not this one.
    """
    host = next((h for h in route.hosts if h.endswith(f".{LOCAL_DOMAIN}")), "")
    if not host or host_name(request.host) not in THIS_MACHINE:
        return None
    if not any(line.lower().startswith(BROWSES) for line in request.lines):
        return None
    port = request.host.rpartition(b"]")[2].partition(b":")[2]
    authority = host.encode() + (b":" + port if port else b"")
    location = b"Location: %b://%b%b\r\n" % (scheme, authority, request.target)
    return Refusal(307, "own_name", f"the page has a name of its own: {host}", (location,))
