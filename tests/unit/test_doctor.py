"""What doctor makes of the container that it runs in."""

from pathlib import Path
from typing import Any

import pytest

from homeport.server.doctor import data_dir_mount, own_container

ID = "0123456789abcdef" * 4
MOUNTINFO = """\
1 2 0:1 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/X
3 1 8:1 /{root}/containers/{id}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw
4 1 8:1 /{root}/containers/{id}/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize("root", ["var/lib/docker", "data/engine"])
def test_own_container_is_known_by_its_files(root: str) -> None:
    assert own_container(MOUNTINFO.format(root=root, id=ID)) == ID


def test_host_that_has_containers_is_none() -> None:
    line = f"9 1 0:5 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n"
    assert own_container("1 2 0:1 / / rw - ext4 /dev/sda1 rw\n" + line) is None


def bind(source: str, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Destination": target}


@pytest.mark.parametrize(
    ("mounts", "is_ok", "words"),
    [
        pytest.param([bind("/data", "/data")], True, "same directory", id="same-path"),
        pytest.param([bind("/", "/")], True, "same directory", id="a-parent-at-its-own-path"),
        pytest.param([bind("/srv/hp", "/data")], False, "is /srv/hp/sub outside", id="another-path"),
        pytest.param(
            [bind("/data", "/data"), bind("/other", "/data/sub")],
            False,
            "is /other outside",
            id="the-nearest-mount-counts",
        ),
        pytest.param([bind("/x", "/dat")], False, "lies inside this container", id="not-mounted"),
    ],
)
def test_data_directory_must_be_the_same_outside(
    mounts: list[dict[str, Any]], is_ok: bool, words: str
) -> None:
    found = data_dir_mount(Path("/data/sub"), mounts)
    assert found.is_ok is is_ok
    assert words in found.what
    assert ("-v /data/sub:/data/sub" in found.remedy) is not is_ok
