"""Errors that cross to a dialect. `code` is stable and tested; the sentence may improve."""

from typing import ClassVar


class HomeportError(Exception):
    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500


class NotFound(HomeportError):
    code, status = "not_found", 404

    def __init__(self, kind: str, name: str, *, among: str = "") -> None:
        super().__init__(f"no {kind} named {name!r}" + (f"; there is {among}" if among else ""))
        self.kind, self.name = kind, name


class Unauthorized(HomeportError):
    code, status = "unauthorized", 401


class Forbidden(HomeportError):
    """The token is good, but not for this."""

    code, status = "forbidden", 403


class Conflict(HomeportError):
    code, status = "conflict", 409


class Invalid(HomeportError):
    """The request names something that cannot be: `field` says where."""

    code, status = "invalid", 400

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class NotImplementedYet(HomeportError):
    """Part of the vendor's API that Homeport does not serve; never answered with a made-up success."""

    code, status = "not_implemented", 501

    def __init__(self, what: str) -> None:
        super().__init__(f"Homeport does not serve {what} yet; /homeport/coverage lists what it does")
        self.what = what


class NotAcceptable(HomeportError):
    """It can be told, but in no form that the request takes."""

    code, status = "not_acceptable", 406


class TooMany(HomeportError):
    """As many are under way as there may be; it may be tried again."""

    code, status = "too_many", 429


class RuntimeSilent(HomeportError):
    """The runtime does not answer; it may be tried again."""

    code, status = "runtime_unavailable", 503


class StoreUnavailable(HomeportError):
    """The store cannot write now; nothing of the request was kept, and it may be made again."""

    code, status = "store_unavailable", 503


class StoreRefused(HomeportError):
    """The data directory cannot be used as it is; the message names the remedy."""

    code = "store_refused"
