"""The fixture of docs/testing.md and the test beside it, as they stand there, with a real client."""

import re
import subprocess
import sys
from pathlib import Path

from tests.sdk import environment
from tests.world import World

TEXT = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
# The client lives in an environment without pytest, so that what the docs call a test is run in it by hand.
AROUND = """
import subprocess

import pytest

CODE = "import test_tool; test_tool.test_job_is_the_only_one('')"


@pytest.mark.parametrize("number", [1, 2])
def test_job_is_the_only_one(cloud, number):
    subprocess.run([{python!r}, "-c", CODE], check=True)
"""


def test_fixture_of_the_docs_gives_each_test_a_cloud_of_its_own(tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TEXT, re.DOTALL))
    assert sorted(blocks) == ["conftest.py", "test_tool.py"]
    folder = tmp_path / "tests"
    folder.mkdir()
    around = AROUND.format(python=str(environment("0.47.1") / "bin" / "python"))
    for name, text in (blocks | {"test_around.py": around}).items():
        (folder / name).write_text(text)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_around.py"]
    clean = World(tmp_path / "data", "simulated", "").client_env()
    done = subprocess.run(argv, cwd=folder, env=clean, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout + done.stderr
