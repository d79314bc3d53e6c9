"""Label selectors, as in `query=`, in the grammar of Kubernetes: terms joined by commas, which all hold."""

import re
from collections.abc import Callable, Mapping

from ...errors import Invalid

FORMS = "k=v, k!=v, k, !k, k in (v,w) or k notin (v,w)"
SET = re.compile(r"(?P<key>\S+)\s+(?P<is_not>not)?in\s*\((?P<values>[^()]*)\)")
COMMA = re.compile(r",(?![^(]*\))")  # not one between parentheses
Selector = Callable[[Mapping[str, str]], bool]


def parse_selector(text: str) -> Selector:
    terms = [_term(part.strip()) for part in COMMA.split(text) if part.strip()]
    return lambda labels: all(term(labels) for term in terms)


def _term(text: str) -> Selector:
    if found := SET.fullmatch(text):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["is_not"]:  # what has no such label, too
            return lambda labels: labels.get(key) not in values
        return lambda labels: labels.get(key) in values
    if "!=" in text:
        key, _, value = text.partition("!=")
        key, value = _key(key, text), value.strip()
        return lambda labels: labels.get(key) != value
    if "=" in text:
        key, _, value = text.replace("==", "=", 1).partition("=")
        key, value = _key(key, text), value.strip()
        return lambda labels: labels.get(key) == value
    if text.startswith("!"):
        key = _key(text[1:], text)
        return lambda labels: key not in labels
    key = _key(text, text)
    return lambda labels: key in labels


def _key(key: str, text: str) -> str:
    if not key.strip() or " " in key.strip():
        raise Invalid("query", f"{text!r} is not of the form {FORMS}")
    return key.strip()
