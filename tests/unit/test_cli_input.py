"""What the commands say to input that cannot be, before and after they ask a server."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from homeport.server.cli import main
from homeport.server.cli.client import refusal
from homeport.server.cli.tables import table


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["why", ""], "'' is no name", id="why-nothing"),
        pytest.param(["logs", "../reset"], "'../reset' is no name", id="logs-of-a-path"),
        pytest.param(["approve", ""], "'' is no name", id="approve-nothing"),
        pytest.param(["exec-in", "", "ls"], "'' is no name", id="exec-in-nothing"),
        pytest.param(["registry", "remove", ""], "'' is no name", id="login"),
        pytest.param(["reservation", "remove", "a/b"], "'a/b' is no name", id="reservation"),
        pytest.param(["reservation", "add", "r", "--hours", "nan"], "not a number", id="nan-hours"),
        pytest.param(["reservation", "add", "r", "--hours", "1e300"], "not in the range", id="endless-hours"),
        pytest.param(["token", "add", "a@b.c", "--days", "1e300"], "not in the range", id="endless-days"),
        pytest.param(
            ["node", "taint", "n", "team=a"], "of the form KEY=VALUE:EFFECT", id="taint-of-no-effect"
        ),
        pytest.param(["node", "taint", "n", "team=a:Never"], "none of NoSchedule", id="effect-there-is-not"),
        pytest.param(["node", "untaint", "n", ":NoSchedule"], "of the form KEY=VALUE:EFFECT", id="no-key"),
        pytest.param(
            ["pool", "create", "p", "--label", "a=b", "--min-runtime", "inf"], "'inf'", id="endless"
        ),
        pytest.param(["pool", "create", "p", "--label", "a=b", "--min-runtime", "0.7"], "'0.7'", id="part-s"),
        pytest.param(["project", "create", "p", "--pool", "x"], "add a quota of it", id="pool-of-no-quota"),
        pytest.param(["department", "create", "d", "--pool", "x"], "add a quota of it", id="nor-department"),
        pytest.param(["top", "--every", "nan"], "not a number", id="nan-seconds"),
        pytest.param(["status", "--data-dir", ""], "is empty; name a directory", id="no-directory"),
        pytest.param(["serve", "--data-dir", ""], "is empty; name a directory", id="serve-no-directory"),
    ],
)
def test_input_that_cannot_be_is_refused_as_usage(words: list[str], told: str) -> None:
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, told in done.output) == (2, True), done.output


def test_file_whose_rules_replace_each_other_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - {name: a, run: 1s}\n  - {name: b}\n  - {name: a, run: 2s}\n")
    done = CliRunner().invoke(main, ["rule", "add", "-f", str(path), "--data-dir", str(tmp_path)])
    assert "rules.yaml, line 4, rules[2].name: 'a' is there twice; rename one" in done.output


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        pytest.param(404, b'{"code": "not_found", "message": "no job"}', "no job", id="its-own-word"),
        pytest.param(404, b'{"detail": "Not Found"}', "http://h answers 404 Not Found", id="another-shape"),
        pytest.param(500, b"oops", "http://h answers 500 Internal Server Error; its log has more", id="text"),
        pytest.param(502, b"[]", "http://h answers 502 Bad Gateway; its log has more", id="no-object"),
        pytest.param(599, b"", "http://h answers 599; its log has more", id="unknown-status"),
    ],
)
def test_refusal_is_told_whatever_its_body(status: int, body: bytes, told: str) -> None:
    assert refusal("http://h", status, body) == told


def test_columns_line_up_when_cells_are_of_several_lines_or_longer_than_their_heads() -> None:
    rows = [["a-long-name", "one\ntwo", "7"], ["b", "", "100"]]
    assert table(("NAME", "QUOTA", "HAS"), rows, right=("HAS",)).splitlines() == [
        "NAME         QUOTA  HAS",
        "a-long-name  one      7",
        "             two",
        "b                   100",
    ]
