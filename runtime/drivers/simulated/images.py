"""Which images simulated nodes have, and the pulls under way."""

import asyncio
from collections.abc import Iterable, Mapping

from ...clock import Clock

Key = tuple[str, str]  # node and image


class Images:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._present: set[Key] = set()
        self._pulls: dict[Key, asyncio.Task[None]] = {}

    def add(self, node: str, image: str) -> None:
        self._present.add((node, image))

    def add_all(self, images: Mapping[str, Iterable[str]]) -> None:
        """By node."""
        self._present |= {(node, image) for node, each in images.items() for image in each}

    async def pull(self, node: str, image: str, takes_s: float) -> None:
        """Once on each node; who comes meanwhile waits for the same pull, which goes on for the others."""
        key = (node, image)
        if key in self._present:
            return
        if key not in self._pulls:
            task = asyncio.ensure_future(self._clock.sleep(takes_s))
            self._pulls[key] = task
            task.add_done_callback(lambda ended: self._ended(key, ended))
        await asyncio.shield(self._pulls[key])

    def _ended(self, key: Key, ended: "asyncio.Task[None]") -> None:
        self._pulls.pop(key, None)
        if not ended.cancelled():
            self._present.add(key)

    def close(self) -> None:
        for task in list(self._pulls.values()):
            task.cancel()
