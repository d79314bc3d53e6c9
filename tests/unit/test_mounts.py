"""A mount's path stays inside its root, whatever lies there and whoever moves it meanwhile."""

import ctypes
import os
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from homeport.runtime.errors import MountRejected
from homeport.runtime.mounts import MAX_DEPTH, open_inside


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Generator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(set(os.listdir("/proc/self/fd"))) <= len(before)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "file").write_text("x")
    (tmp_path / "outside").mkdir()
    return root


def reached(root: Path, path: str) -> tuple[int, int]:
    fd = open_inside(root, path)
    try:
        return _id(os.fstat(fd))
    finally:
        os.close(fd)


def _id(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/", ".", id="a-slash-is-the-root"),
        pytest.param("", ".", id="nothing-is-the-root"),
        pytest.param("a/b", "a/b", id="below"),
        pytest.param("//a/./b/", "a/b", id="odd-spelling"),
        pytest.param("/new/deep", "new/deep", id="missing-directories-are-made"),
        pytest.param("in/b", "a/b", id="a-link-that-stays-inside"),
        pytest.param("a/up/a/b", "a/b", id="a-link-up-that-stays-inside"),
        pytest.param("dangling/c", "made/c", id="what-a-link-misses-is-made"),
        pytest.param("a/%2e%2e", "a/%2e%2e", id="an-encoded-dot-dot-is-a-name"),
    ],
)
def test_open_inside(root: Path, path: str, expected: str) -> None:
    (root / "in").symlink_to("a")
    (root / "a" / "up").symlink_to("..")
    (root / "dangling").symlink_to("made")
    assert reached(root, path) == _id((root / expected).stat())


@pytest.mark.parametrize(
    ("path", "why"),
    [
        pytest.param("../outside", "'..' is not allowed", id="dot-dot"),
        pytest.param("a/../../outside", "'..' is not allowed", id="dot-dot-later"),
        pytest.param("a/..", "'..' is not allowed", id="even-one-that-stays-inside"),
        pytest.param("absolute", "is absolute", id="an-absolute-link-out"),
        pytest.param("home", "is absolute", id="an-absolute-link-back-inside"),
        pytest.param("out", "leads out", id="a-relative-link-out"),
        pytest.param("a/sneaky/x", "leads out", id="a-link-out-by-way-of-another"),
        pytest.param("loop/x", "more than 40 links", id="links-in-a-circle"),
        pytest.param("file", "'file' is not a directory", id="a-file"),
        pytest.param("file/x", "'file' is not a directory", id="below-a-file"),
        pytest.param("to-file", "'file' is not a directory", id="a-link-to-a-file"),
        pytest.param("pipe", "'pipe' is not a directory", id="a-pipe"),
        pytest.param("a\0b", "NUL byte", id="nul"),
        pytest.param("\ud800", "not valid text", id="a-lone-surrogate"),
        pytest.param("x" * 300, "File name too long", id="a-long-name"),
        pytest.param("x/" * 3000, "longer than 4096 bytes", id="a-long-path"),
        pytest.param("x/" * (MAX_DEPTH + 1), "deeper than", id="a-deep-path"),
    ],
)
def test_open_inside_refuses(root: Path, path: str, why: str) -> None:
    (root / "absolute").symlink_to(root.parent / "outside")
    (root / "home").symlink_to(root / "a")
    (root / "out").symlink_to("../outside")
    (root / "a" / "sneaky").symlink_to("b/../../../outside")
    (root / "loop").symlink_to("loop")
    (root / "to-file").symlink_to("file")
    os.mkfifo(root / "pipe")
    with pytest.raises(MountRejected, match=f"^mount at /data: .*{why}"):
        open_inside(root, path, target="/data")
    assert os.listdir(root.parent / "outside") == []


def test_a_missing_root_is_made(tmp_path: Path) -> None:
    assert reached(tmp_path / "x" / "y", "/z") == _id((tmp_path / "x" / "y" / "z").stat())


def test_a_root_that_is_a_file_is_refused(root: Path) -> None:
    with pytest.raises(MountRejected, match=r"File exists|Not a directory"):
        open_inside(root / "file", "/")


def test_swapping_a_directory_for_a_link_never_leads_outside(root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "b").mkdir()
    (root / "absolute").symlink_to(outside)
    (root / "relative").symlink_to("../outside")
    legal = _id((root / "a" / "b").stat())
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            for link in ("absolute", "relative"):
                _exchange(root / "a", root / link)
                _exchange(root / "a", root / link)

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes = {"inside": 0, "refused": 0}
    try:
        for _ in range(10_000):
            try:
                assert reached(root, "a/b") == legal
                outcomes["inside"] += 1
            except MountRejected:
                outcomes["refused"] += 1
    finally:
        is_over.set()
        swapper.join()
    assert min(outcomes.values()) > 0  # both were met, so the race was real
    assert os.listdir(outside) == ["b"]
    assert os.listdir(outside / "b") == []


def _exchange(one: Path, other: Path) -> None:
    """Both names change places in one step: renameat2(RENAME_EXCHANGE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd, exchange = -100, 2
    if libc.renameat2(at_cwd, bytes(one), at_cwd, bytes(other), exchange) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")
