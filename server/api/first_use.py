"""Applications that are imported when they are first asked for, so that a server answers sooner."""

import asyncio
import threading
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class OnFirstUse:
    """
    Args:
        make: imports and wires the application; called once, and never on the event loop's thread by a
            request, since importing one takes up to half a second.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._making = threading.Lock()

    def build(self) -> ASGIApp:
        """From any thread; who comes while it is being made waits for it."""
        with self._making:
            if self._app is None:
                self._app = self._make()
            return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if app is None:
            app = await asyncio.to_thread(self.build)
        await app(scope, receive, send)
