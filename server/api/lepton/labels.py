"""Label selectors, as in `query=`: `k=v`, `k!=v`, `k` or `!k`, joined by commas."""

from collections.abc import Callable, Mapping

from ...errors import Invalid

Selector = Callable[[Mapping[str, str]], bool]


def parse_selector(text: str) -> Selector:
    terms = [_term(part.strip()) for part in text.split(",") if part.strip()]
    return lambda labels: all(term(labels) for term in terms)


def _term(text: str) -> Selector:
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
        raise Invalid("query", f"{text!r} is not of the form k=v, k!=v, k or !k")
    return key.strip()
