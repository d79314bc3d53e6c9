"""YAML that knows its lines, so that an error can name the one to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import Invalid

MOST_BYTES, MOST_VALUES = 4 << 20, 200_000
Place = tuple[str | int, ...]
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Text:
    """
    A YAML document.

    Args:
        name: of its file, for messages.
        lines: where each value stands, counted from 1, by its place: ("rules", 0, "run").
    """

    name: str
    value: Any
    lines: Mapping[Place, int]

    def line_of(self, place: Place) -> int:
        """Of the value, or of the nearest that it is, or should be, a part of."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def refusal(self, place: Place, message: str) -> Invalid:
        where = told(place)
        return Invalid(f"{self.name}, line {self.line_of(place)}" + (f", {where}" if where else ""), message)


def told(place: Sequence[str | int]) -> str:
    """("rules", 0, "run") -> rules[0].run"""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).removeprefix(".")


def read_yaml(path: Path, *, flag: str) -> Text:
    """
    Args:
        flag: that named the file, for messages.

    Raises:
        Invalid: it cannot be read, or is no YAML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(flag, f"cannot read {path}: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise Invalid(flag, f"{path} is larger than {MOST_BYTES >> 20} MiB")
    return parse_yaml(data, name=path.name)


def parse_yaml(data: bytes, *, name: str) -> Text:
    import yaml  # only those who have such a file pay for it

    loader = None
    try:
        loader = yaml.SafeLoader(data)  # reads the beginning, by which it knows the encoding
        root = loader.get_single_node()
        walk = _Walk(name, loader)
        value = walk.plain(root, ()) if root is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise Invalid(f"{name}, line {line}", error.problem or "is no YAML") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Invalid(name, f"is no YAML: {' '.join(str(error).split())}") from error
    finally:
        if loader is not None:
            loader.dispose()
    return Text(name, value, walk.lines)


class _Walk:
    def __init__(self, name: str, loader: Any) -> None:
        self._name, self._loader = name, loader
        self.lines: dict[Place, int] = {}

    def plain(self, node: Any, place: Place) -> Any:
        """Each use of an anchor is walked again, which is what bounds documents that repeat themselves."""
        line = node.start_mark.line + 1
        if len(self.lines) >= MOST_VALUES:
            raise Invalid(f"{self._name}, line {line}", f"more than {MOST_VALUES} values; use `count`")
        self.lines[place] = line
        if isinstance(node.value, str):
            is_text = node.tag.rpartition(":")[2] in ("timestamp", "binary")  # JSON has neither
            return node.value if is_text else self._loader.construct_object(node)
        if node.id == "sequence":
            return [self.plain(item, (*place, index)) for index, item in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(self._loader.construct_object(key_node, deep=True))
            if key in found:
                line = key_node.start_mark.line + 1
                raise Invalid(f"{self._name}, line {line}", f"{told((*place, key))} is there twice")
            found[key] = self.plain(value_node, (*place, key))
        return found


def checked(body: type[Body], text: Text) -> Body:
    """
    Raises:
        Invalid: names the line and the field.
    """
    try:
        return body.model_validate(text.value)
    except ValidationError as error:
        first = error.errors()[0]
        place = known_part(first, text.value)
        raise text.refusal(place, said(first)) from None


def known_part(error: Any, value: Any) -> Place:
    """Where the error is, without the names of union members in pydantic's place: no document has them."""
    found: list[str | int] = []
    for index, part in enumerate(error["loc"], 1):
        is_missing = error["type"] == "missing" and index == len(error["loc"])
        if isinstance(value, dict) and (part in value or is_missing):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        found.append(part)
    return tuple(found)


def said(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    ours = {
        "missing": "is missing",
        "extra_forbidden": "is not known here; see docs/simulated.md",
        "model_type": "should be fields with their values here; see docs/simulated.md",
    }
    return ours.get(error["type"], message)
