"""Times as people write them."""

import re
from datetime import UTC, datetime, timedelta

from ..errors import Invalid

AGO = re.compile(r"(\d{1,9})([mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST_S = 10 * 365 * 86400  # of anything that is told as a duration
# Dates end with the year 9999; what is counted on from this one (a token's end, say) is one still.
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
LATEST_MS = int(LATEST.timestamp() * 1000)


def check_reach(field: str, at_ms: float) -> None:
    """
    Raises:
        Invalid: that time is too far away to be written as a date.
    """
    if at_ms > LATEST_MS:
        raise Invalid(field, f"must be before the year {LATEST.year}")


def utc(at_ms: int) -> str:
    """Unix milliseconds as people read them: `2026-11-21 19:05:00 UTC`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def parse_time_ms(field: str, text: str, now_ms: int) -> int:
    """
    `90m`, `12h`, `7d`, `2w` before now; or a date or a time of ISO 8601, in UTC where it names no zone.

    Returns:
        Unix milliseconds, 0 at least.

    Raises:
        Invalid: it is neither, with `field` as the field.
    """
    try:
        if ago := AGO.fullmatch(text.strip()):
            return max(0, now_ms - timedelta(**{UNITS[ago[2]]: int(ago[1])}) // timedelta(milliseconds=1))
        at = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as error:
        raise Invalid(field, f"{text!r} is no time; write 7d, 12h, 90m, or 2026-11-01") from error
    return max(0, round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000))
