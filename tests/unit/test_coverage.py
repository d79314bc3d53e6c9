"""The coverage page is true: it is generated, and each test that it names exists."""

import re
from collections import Counter
from pathlib import Path

import pytest

from homeport.server.api.coverage import DIALECTS, Dialect, page, to_wire

ROOT = Path(__file__).parents[2]
BY_NAME = [pytest.param(dialect, id=dialect.key) for dialect in DIALECTS]


def test_page_is_what_the_tables_say() -> None:
    assert (ROOT / "docs" / "coverage.md").read_text() == page()


@pytest.mark.parametrize("dialect", BY_NAME)
def test_page_has_a_row_for_each_operation_of_a_dialect(dialect: Dialect) -> None:
    section = page().split(f"## {dialect.name}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (?!area|-)(.+?) \| ([A-Z]+) \| `(.+?)` \| (\w+) \|$", section, flags=re.M)
    assert [(m, p) for _, m, p, _ in rows] == [(o.method, o.path or "/") for o in dialect.operations]
    assert f"{dialect.name}: {sum(t != '501' for *_, t in rows)} of {len(rows)} operations" in page()


@pytest.mark.parametrize("dialect", BY_NAME)
def test_every_named_test_exists(dialect: Dialect) -> None:
    text = "".join(p.read_text() for p in (ROOT / "tests" / "contract").glob("*.py"))
    assert [o.test for o in dialect.operations if o.test and f"def {o.test}(" not in text] == []


def test_coverage_tells_what_was_asked_for_in_vain() -> None:
    told = to_wire({"runai": Counter({"GET /api/v1/users": 2})})
    assert (told["runai"]["refused"], told["lepton"]["refused"]) == ({"GET /api/v1/users": 2}, {})
    assert (told["runai"]["of"], told["lepton"]["of"]) == (391, len(DIALECTS[0].operations))
