"""The query of a request: each parameter read as what it has to be, or a 400 that names it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.datastructures import QueryParams

from ...errors import Invalid
from . import quirks


@dataclass(frozen=True, slots=True)
class Query:
    """An empty value is as good as none."""

    params: QueryParams

    def text(self, name: str, default: str = "") -> str:
        return ",".join(v for v in self.params.getlist(name) if v) or default

    def has(self, name: str) -> bool:
        return bool(self.text(name))

    def flag(self, name: str, default: bool = False) -> bool:
        text = self.text(name).lower()
        if text not in ("", "true", "false"):
            raise Invalid(name, f"{text!r} must be true or false")
        return default if not text else text == "true"

    def number(self, name: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
        text = self.text(name)
        if not text:
            return default
        try:
            value = int(text)
        except ValueError:
            raise Invalid(name, f"{text!r} must be a whole number") from None
        if not least <= value <= most:
            raise Invalid(name, f"{value} must be from {least} to {most}")
        return value

    def items(self, name: str) -> list[str]:
        return quirks.split_list(self.text(name))

    def one_of(self, name: str, allowed: Sequence[str], default: str = "") -> str:
        text = self.text(name)
        return self._member(name, text, allowed) if text else default

    def some_of(self, name: str, allowed: Sequence[str]) -> list[str]:
        return [self._member(name, text, allowed) for text in self.items(name)]

    def _member(self, name: str, text: str, allowed: Sequence[str]) -> str:
        found = quirks.read_member(text, allowed)
        if found is None:
            raise Invalid(name, f"{text!r} must be one of {', '.join(allowed)}")
        return found

    def time(self, name: str) -> datetime | None:
        text = self.text(name)
        try:
            return quirks.read_time(text) if text else None
        except ValueError:
            raise Invalid(name, f"{text!r} is no time; write it as 2026-01-31T12:00:00Z") from None

    def required_time(self, name: str) -> datetime:
        at = self.time(name)
        if at is None:
            raise Invalid(name, "is missing; write a time as 2026-01-31T12:00:00Z")
        return at
