"""What pydantic says of a request, in the words and with the paths that every refusal here has."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ...errors import Invalid

WORDS = {
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "missing": "is missing",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
}


def explained(error: Mapping[str, Any]) -> tuple[str, str]:
    """Field, such as `spec.envs[0].name`, and what is wrong with it."""
    path: Sequence[str | int] = [part for part in error["loc"] if part != "body"]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    what = WORDS.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    return field.removeprefix(".") or "body", what


def refusal(error: ValidationError, *within: str) -> Invalid:
    """
    Args:
        within: path of what was validated, where that is not the whole request.
    """
    first = error.errors()[0]
    return Invalid(*explained({**first, "loc": (*within, *first["loc"])}))
