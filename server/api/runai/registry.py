"""Which handler serves which operation of the table."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .call import Handler


@dataclass(frozen=True, slots=True)
class Served:
    """`is_public`: it is answered without a token."""

    handler: Handler
    is_public: bool = False


class Routes:
    """
    The handlers of one module, by method and path as the table of operations has them:

        routes = Routes()

        @routes.get("/api/v1/org-unit/projects/{project_id}")
        async def get_project(call: Call) -> Response: ...
    """

    def __init__(self) -> None:
        self.served: dict[tuple[str, str], Served] = {}

    def get(self, *paths: str) -> Callable[[Handler], Handler]:
        return self._add("GET", paths)

    def post(self, *paths: str, is_public: bool = False) -> Callable[[Handler], Handler]:
        return self._add("POST", paths, is_public=is_public)

    def put(self, *paths: str) -> Callable[[Handler], Handler]:
        return self._add("PUT", paths)

    def patch(self, *paths: str) -> Callable[[Handler], Handler]:
        return self._add("PATCH", paths)

    def delete(self, *paths: str) -> Callable[[Handler], Handler]:
        return self._add("DELETE", paths)

    def _add(
        self, method: str, paths: Iterable[str], *, is_public: bool = False
    ) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            for path in paths:
                assert (method, path) not in self.served, f"{method} {path} is served twice"
                self.served[method, path] = Served(handler, is_public)
            return handler

        return register


def merge(parts: Iterable[Routes]) -> Mapping[tuple[str, str], Served]:
    """All of them; each operation once."""
    found: dict[tuple[str, str], Served] = {}
    for part in parts:
        twice = found.keys() & part.served.keys()
        assert not twice, f"served twice: {sorted(twice)}"
        found |= part.served
    return found
