"""examples/runai_training.py, as its first line says to run it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runai import RUNAPY
from tests.world import World

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "runai_training.py"


@pytest.mark.parametrize(("command", "phase", "code"), [("true", "Completed", 0), ("false", "Failed", 1)])
def test_example_tells_how_its_training_went(home: World, command: str, phase: str, code: int) -> None:
    argv = [sys.executable, "-m", "homeport", "exec", "--data-dir", str(home.data_dir), "--"]
    argv += [str(ROOT / f".venv-runapy-{RUNAPY}" / "bin" / "python"), str(EXAMPLE)]
    argv += ["--image", home.image, "--command", command]
    done = subprocess.run(argv, env=home.client_env(), capture_output=True, text=True, timeout=90)
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("hello-") and f": {phase}" in line for line in lines), done.stdout
    assert lines[-1].startswith("Created -> Scheduled -> ")
