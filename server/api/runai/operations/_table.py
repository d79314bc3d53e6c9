"""The words in which the tables are written."""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One method of one path.

    Args:
        path: whole, with its parameters in braces.
        success: the status of an answer that is none of an error.
        filters, sorts: fields that `filterBy` and `sortBy` may name.
        test: observes it through the real client; None: answered with a typed 501.
    """

    area: str
    method: str
    path: str
    success: int = 200
    filters: tuple[str, ...] = ()
    sorts: tuple[str, ...] = ()
    test: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Under which its handler is registered."""
        return (self.method, self.path)


def area(name: str, *operations: Operation) -> Iterable[Operation]:
    return (replace(operation, area=name) for operation in operations)


def _of(method: str, path: str, success: int, filters: tuple[str, ...], sorts: tuple[str, ...],
        test: str | None) -> Operation:  # fmt: skip
    return Operation("", method, path, success, filters, sorts, test)


def get(
    path: str,
    success: int = 200,
    *,
    fields: tuple[str, ...] = (),
    filters: tuple[str, ...] = (),
    sorts: tuple[str, ...] = (),
    test: str | None = None,
) -> Operation:
    """`fields`: what can be filtered and sorted by alike."""
    return _of("GET", path, success, filters or fields, sorts or fields, test)


def post(path: str, success: int = 200, *, test: str | None = None) -> Operation:
    return _of("POST", path, success, (), (), test)


def put(path: str, success: int = 200, *, test: str | None = None) -> Operation:
    return _of("PUT", path, success, (), (), test)


def patch(path: str, success: int = 200, *, test: str | None = None) -> Operation:
    return _of("PATCH", path, success, (), (), test)


def delete(path: str, success: int = 204, *, test: str | None = None) -> Operation:
    return _of("DELETE", path, success, (), (), test)
