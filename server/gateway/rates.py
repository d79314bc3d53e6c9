"""How often somebody may do something."""

import ipaddress
from collections import OrderedDict

# Wrong tokens: so many at once, then one more each second.
GUESSES, GUESSES_PER_S = 60, 1.0
MOST_CLIENTS = 4096
MOST_GOOD = 64  # tokens of one client that are remembered as good


class Bucket:
    """Fills with `per_s` up to `most`; each `take` needs one whole part."""

    __slots__ = ("_at_s", "_left", "most", "per_s")

    def __init__(self, per_s: float, most: float, now_s: float) -> None:
        self.per_s, self.most = per_s, most
        self._left, self._at_s = most, now_s

    def wait_s(self, now_s: float) -> float:
        """Until there is one to take; 0.0 now."""
        self._left = min(self.most, self._left + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        return 0.0 if self._left >= 1 else (1 - self._left) / self.per_s

    def take(self, now_s: float) -> float:
        """0.0 where it was taken; else the seconds until there is one."""
        wait_s = self.wait_s(now_s)
        if not wait_s:
            self._left -= 1
        return wait_s


class _Client:
    __slots__ = ("bucket", "good")

    def __init__(self, now_s: float) -> None:
        self.bucket = Bucket(GUESSES_PER_S, GUESSES, now_s)
        self.good: OrderedDict[str, None] = OrderedDict()


class Guesses:
    """
    Wrong tokens by client. Who has guessed too often is not told any more whether a new token is
    right; tokens that were right before go on, so that nobody who shares the address is shut out.

    An IPv6 client has a whole /64 to call from, and counts as one.
    """

    def __init__(self) -> None:
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def is_known(self, client: str, hashed: str) -> bool:
        found = self._clients.get(_network(client))
        return found is not None and hashed in found.good

    def pause_s(self, client: str, now_s: float) -> float:
        """How long until another token is looked at; 0.0 at once."""
        found = self._clients.get(_network(client))
        return found.bucket.wait_s(now_s) if found else 0.0

    def was_right(self, client: str, hashed: str, now_s: float) -> None:
        good = self._client(client, now_s).good
        good[hashed] = None
        good.move_to_end(hashed)
        if len(good) > MOST_GOOD:
            good.popitem(last=False)

    def was_wrong(self, client: str, now_s: float) -> None:
        self._client(client, now_s).bucket.take(now_s)

    def _client(self, client: str, now_s: float) -> _Client:
        name = _network(client)
        found = self._clients.get(name)
        if found is None:
            found = self._clients[name] = _Client(now_s)
            if len(self._clients) > MOST_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(name)
        return found


def _network(client: str) -> str:
    if ":" not in client:
        return client
    return str(ipaddress.ip_network(f"{client.partition('%')[0]}/64", strict=False))
