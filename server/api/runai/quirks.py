"""
What runapy does to a request on its way, and how it is undone. All of it, here only.

Source: runapy 1.224.0, `api_client.py`, `rest.py`, `async_rest.py` and its generated call sites, as
seen on the wire; 1.218.0 and 1.219.0 do the same.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ...errors import Invalid

# Documented in camel case, sent with a hyphen: both are the same path.
SPELLINGS = {"sharedscopes": "shared-scopes"}
PIECE = re.compile(r"[A-Za-z0-9_]+(==|!=|<=|>=|=@|!@|=\^|=\$)")
MOST_DEPTH = 64
LOST_PLUS = re.compile(r" (\d\d:?\d\d)$")


def segment(text: str) -> str:
    """
    One part of a path as it is looked up: the client turns each `_` of a path into `-`, those of ids
    and names that were put in too.
    """
    hyphened = text.replace("_", "-")
    return SPELLINGS.get(hyphened.lower(), hyphened)


def is_same_name(sent: str, name: str) -> bool:
    """Whether a name that came in a path is this one."""
    return sent == name or segment(sent) == segment(name)


def read_body(raw: bytes) -> Any:
    """
    The JSON value that the caller meant, without its nulls.

    A body that Python calls false (`{}`, `[]`) comes as no bytes at all. The async client sends a
    JSON string that holds the JSON. Models that were read from a dict send every field they were not
    given as null, so a null says no more than its absence.

    Raises:
        Invalid: it is not JSON, or nothing that could be kept as JSON.
    """
    return without_nulls(read_json(raw))


def read_json(raw: bytes) -> Any:
    """
    As `read_body`, with its nulls.

    Raises:
        Invalid: as there.
    """
    if not raw.strip():
        return {}
    try:
        value = _parse(raw.decode())
        if isinstance(value, str):
            value = _parse(value) if value.strip() else {}
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate could not be stored
    except RecursionError:
        raise Invalid("body", "is nested too deeply") from None
    except ValueError:
        raise Invalid("body", "is not JSON that can be read") from None
    return value


def _parse(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def without_nulls(value: Any, depth: int = 0) -> Any:
    """
    Raises:
        Invalid: it is nested deeper than what is kept could be read again.
    """
    if depth > MOST_DEPTH:
        raise Invalid("body", f"is nested too deeply; {MOST_DEPTH} levels are the most")
    if isinstance(value, dict):
        return {k: without_nulls(v, depth + 1) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(item, depth + 1) for item in value]
    return value


AMOUNT = ("deserved", "limit", "overQuotaWeight")


def without_empty_nulls(entries: Sequence[Any]) -> list[Any]:
    """
    Quotas as they were sent, with only those nulls that were meant: a `limit` that is null is none. Of an
    amount with all three fields a null says nothing, because `from_dict` of the client's models adds
    those that it was not given.
    """
    return [_meant(entry) if isinstance(entry, dict) else entry for entry in entries]


def _meant(entry: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = without_nulls(entry)
    for name in ("gpu", "cpu", "memory"):
        amount = entry.get(name)
        if isinstance(amount, dict) and not all(field in amount for field in AMOUNT):
            plain[name] |= {field: None for field in AMOUNT if field in amount and amount[field] is None}
    return plain


def split_list(text: str) -> list[str]:
    """A list comes as one value with commas, not as a key for each."""
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def split_filters(text: str) -> list[str]:
    """
    `name==a,name!=b` is two; `images=@a,b` is one, since `b` is no `field op value`: values keep
    their commas.
    """
    pieces: list[str] = []
    for part in text.split(","):
        if not pieces or PIECE.match(part.strip()):
            pieces.append(part.strip())
        else:
            pieces[-1] += f",{part}"
    return [piece for piece in pieces if piece]


def read_member(text: str, allowed: Sequence[str]) -> str | None:
    """
    Which of `allowed` is meant. A lone enum member comes as Python spells it:
    `OrgUnitTelemetryType.GPU_QUOTA`, or `SettingsKeyEnum.AUTOREDIRECTSSO` for `autoRedirectSSO`.
    """
    if text in allowed:
        return text
    plain = re.sub(r"^[A-Z]\w*\.", "", text)
    return next((name for name in allowed if _letters(name) == _letters(plain)), None)


def _letters(text: str) -> str:
    return text.replace("-", "").replace("_", "").lower()


def read_time(text: str) -> datetime:
    """
    ISO 8601. Without a zone it is UTC, which is what the client's users mean by `datetime.utcnow()`.

    Raises:
        ValueError: it is no time.
    """
    at = datetime.fromisoformat(LOST_PLUS.sub(r"+\1", text.strip()))
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:  # the first and the last day, in a zone that is ahead or behind
        raise ValueError(f"{text} is before or after all times") from error
