"""The wheel holds what git holds, and lives beside a user's own `server` package."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    script = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_lists_what_git_lists(wheel: Path) -> None:
    names = ["server", "scheduler", "runtime", "src/homeport"]
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *names]
    listed = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    wanted = {f"homeport/{p.removeprefix('src/homeport/')}" for p in listed if not (ROOT / p).is_symlink()}
    held = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert held == wanted


def test_wheel_works_beside_a_package_named_server(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").write_text("mine = True\n")
    script = "import server, homeport.server.app as app; assert server.mine; print(app.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert str(tmp_path) in done.stdout, done.stderr


def test_help_imports_nothing_slow() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from homeport.server.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "print([m for m in ('fastapi', 'sqlalchemy', 'docker', 'rich', 'pynvml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
