"""Which labels a selector takes: the grammar is that of Kubernetes."""

import pytest

from homeport.server.api.lepton.labels import parse_selector
from homeport.server.errors import Invalid

LABELS = {"team": "vision", "env": "prod", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("team", True),
        ("!team", False),
        ("team=vision", True),
        ("team==text", False),
        ("team!=text", True),
        ("none!=text", True),
        ("team in (vision, text)", True),
        ("team in (text)", False),
        ("none in (text)", False),
        ("team notin (vision,text)", False),
        ("none notin (text)", True),
        ("env=prod,team in (text,vision),!none", True),
        ("team in (text,vision),env notin (prod)", False),
    ],
)
def test_selector_takes_what_kubernetes_would(text: str, expected: bool) -> None:
    assert parse_selector(text)(LABELS) is expected


@pytest.mark.parametrize("text", ["=a", "a b", "a in b", "a in (b", "in (a)", "! "])
def test_what_is_no_selector_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(Invalid, match=r"query: .* is not of the form k=v, .*k in \(v,w\)"):
        parse_selector(text)
