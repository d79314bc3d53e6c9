"""Test images without a registry: made from this machine's own busybox and bash."""

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

TAG = "homeport-test/bash:1"


def bash_image(api: Any) -> str:
    """`docker import` of busybox (Debian: busybox-static), its applets, and bash, which clients run."""
    if api.images(name=TAG):
        return TAG
    repository, _, tag = TAG.partition(":")
    api.import_image_from_data(
        _root(), repository=repository, tag=tag, changes=["ENV PATH=/bin", 'CMD ["sh"]']
    )
    return TAG


def _root() -> bytes:
    busybox, bash = shutil.which("busybox"), shutil.which("bash")
    if busybox is None or bash is None:
        raise RuntimeError("the test image needs busybox (apt-get install busybox-static) and bash")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    linked = subprocess.run(["ldd", bash], capture_output=True, text=True, check=True).stdout
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
        for source, target in [(busybox, "bin/busybox"), (bash, "bin/bash")]:
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
