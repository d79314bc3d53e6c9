"""What the gateway is shown: the table that follows from the store and from what runs."""

import asyncio
from collections.abc import Iterable, Mapping

from ...runtime.model import Observed
from ..routing import Route
from ..store.log_files import Key
from .launches import Machine
from .route_table import wanted_routes
from .tasks import KeyedTasks

ROUTES = "routes"


class ShownRoutes:
    """`routes` are those that the gateway was shown last, by key."""

    def __init__(self, machine: Machine, tasks: KeyedTasks) -> None:
        self._m, self._tasks = machine, tasks
        self._addresses: Mapping[Key, str] = {}  # of running containers, when last seen
        self._showing = asyncio.Lock()
        self.routes: Mapping[str, Route] = {}

    def see(self, observed: Iterable[Observed]) -> None:
        self._addresses = {(o.replica_id, o.attempt): o.address for o in observed if o.address}

    async def show(self) -> None:
        """
        After what was recorded, and before anything is stopped. Bounded by the gateway's patience.

        One at a time, and each reads when its turn comes: of two that wait for the same table to
        be shown, one would be left out.
        """
        async with self._showing:
            await self._tasks.join(ROUTES)  # of one that was cancelled meanwhile
            routes = wanted_routes(self._m, self._addresses)
            if routes != self.routes:
                self.routes = routes
                self._m.traffic.shown(routes.values())
                self._tasks.start(ROUTES, lambda: self._m.show_routes(routes.values()))
                await self._tasks.join(ROUTES)
