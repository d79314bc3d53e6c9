"""Test images without a registry: made from this machine's own busybox and bash."""

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

TAG = "homeport-test/bash:1"
SSH_TAG = "homeport-test/ssh:1"


def bash_image(api: Any) -> str:
    """`docker import` of busybox (Debian: busybox-static), its applets, and bash, which clients run."""
    return _imported(api, TAG, ())


def ssh_image(api: Any) -> str:
    """The same with an SSH server, dropbear (Debian: dropbear-bin), as `sshd`."""
    dropbear = shutil.which("dropbear") or shutil.which("dropbear", path="/usr/sbin")
    if dropbear is None:
        raise RuntimeError("the test image with an SSH server needs dropbear (apt-get install dropbear-bin)")
    return _imported(api, SSH_TAG, ((dropbear, "bin/sshd"),))


def _imported(api: Any, name: str, programs: Sequence[tuple[str, str]]) -> str:
    if not api.images(name=name):
        repository, _, tag = name.partition(":")
        changes = ["ENV PATH=/bin", 'CMD ["sh"]']
        api.import_image_from_data(_root(programs), repository=repository, tag=tag, changes=changes)
    return name


def _root(programs: Sequence[tuple[str, str]]) -> bytes:
    """
    Args:
        programs: further ones of this machine, and where in the image each lies.
    """
    busybox, bash = shutil.which("busybox"), shutil.which("bash")
    if busybox is None or bash is None:
        raise RuntimeError("the test image needs busybox (apt-get install busybox-static) and bash")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    binaries = [bash, *(source for source, _ in programs)]
    linked = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=True).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (
            ("tmp", 0o1777),
            ("proc", 0o755),
            ("sys", 0o755),
            ("dev", 0o755),
            ("root", 0o755),
        ):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for source, target in [(busybox, "bin/busybox"), (bash, "bin/bash"), *programs]:
            _add(tar, Path(source).resolve(), target)
        for library in sorted(set(re.findall(r"(/\S+\.so\S*)", linked))):
            _add(tar, Path(library).resolve(), library.lstrip("/"))
        for applet in applets:
            if applet not in ("busybox", "bash"):
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        for name, text in (("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, source: Path, target: str) -> None:
    entry = tarfile.TarInfo(target)
    entry.size, entry.mode = source.stat().st_size, 0o755
    with source.open("rb") as file:
        tar.addfile(entry, file)


PYTHON_TAG = "homeport-test/python:1"


def python_image(api: Any) -> str:
    """This interpreter at its own path, its standard library, and FastAPI with what it needs; bash too."""
    if not api.images(name=PYTHON_TAG):
        repository, _, tag = PYTHON_TAG.partition(":")
        path = f"{Path(sys.base_prefix) / 'bin'}:/bin"
        changes = [f"ENV PATH={path}", "ENV PYTHONUNBUFFERED=1", 'CMD ["python3"]']
        api.import_image_from_data(_python_root(), repository=repository, tag=tag, changes=changes)
    return PYTHON_TAG


def python_path() -> str:
    """Of the interpreter in `python_image`."""
    return str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")


LEFT_OUT = {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "site-packages", "lib2to3"}


def _python_root() -> bytes:
    library = Path(sysconfig.get_paths()["stdlib"])
    python = Path(sys.executable).resolve()
    wanted = [(python, Path(python_path()))]
    wanted += [(p, p) for p in _files_below(library)]
    wanted += [(p, library / "site-packages" / rest) for p, rest in _distributed("fastapi", "uvicorn")]
    shared = [str(p) for p, _ in wanted if p.suffix == ".so"]
    linked = subprocess.run(["ldd", str(python), *shared], capture_output=True, text=True).stdout
    wanted += [(Path(p).resolve(), Path(p)) for p in sorted(set(re.findall(r"(/\S+\.so\S*)", linked)))]
    buffer = io.BytesIO(_root(()))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        had = set(tar.getnames())
        for source, target in dict.fromkeys(wanted):
            if (name := str(target).lstrip("/")) not in had and source.is_file() and not name.endswith(":"):
                _add(tar, source, name)
        link = tarfile.TarInfo(str(Path(sys.base_prefix) / "bin" / "python3").lstrip("/"))
        link.type, link.linkname = tarfile.SYMTYPE, Path(python_path()).name
        tar.addfile(link)
    return buffer.getvalue()


def _files_below(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if f not in LEFT_OUT and not f.startswith("config-")]
        yield from (Path(at) / name for name in names)


def _distributed(*roots: str) -> Iterator[tuple[Path, str]]:
    """Each file of these packages and of those that they need, and its path among the packages."""
    todo, seen = list(roots), set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
        needs = [need for need in found.requires or () if "extra ==" not in need]
        todo += [re.split(r"[^A-Za-z0-9._-]", need)[0].lower() for need in needs]
        for file in found.files or ():
            if "__pycache__" not in file.parts and file.parts[0] not in ("..", "/"):
                yield Path(str(file.locate())), str(file)
