"""The coverage page is true: it is generated, and each test that it names exists."""

from pathlib import Path

from homeport.server.api.lepton.coverage import page
from homeport.server.api.lepton.operations import OPERATIONS

ROOT = Path(__file__).parents[2]


def test_page_is_what_the_table_says() -> None:
    assert (ROOT / "docs" / "coverage.md").read_text() == page()


def test_every_named_test_exists() -> None:
    text = "".join(p.read_text() for p in (ROOT / "tests" / "contract").glob("*.py"))
    assert [o.test for o in OPERATIONS if o.test and f"def {o.test}(" not in text] == []
