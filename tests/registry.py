"""A real image registry (Debian: docker-registry) that asks for a login, as a process of the test."""

import contextlib
import ctypes
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from tests.world import eventually

USER, PASSWORD = "alice", "walnut-5e1b-login"
REALM = "homeport tests"


@dataclass
class Registry:
    """It speaks plain HTTP on 127.0.0.1, which dockerd allows there without being told."""

    server: str
    folder: Path
    engine: Any
    pushed: list[str]

    def push(self, image: str, name: str) -> str:
        """Puts a copy of a local image into the registry only; answers the name to pull it by."""
        target = f"{self.server}/{name}"
        repository, _, tag = target.rpartition(":")
        self.engine.tag(image, repository, tag)
        login = {"username": USER, "password": PASSWORD}
        told = list(self.engine.push(repository, tag, auth_config=login, stream=True, decode=True))
        assert not [line for line in told if "error" in line], told
        self.pushed.append(target)
        self.forget(target)
        return target

    def forget(self, image: str) -> None:
        """From this machine, so that the next launch has to pull it."""
        with contextlib.suppress(ImageNotFound):
            self.engine.remove_image(image, noprune=True, force=True)

    def set_password(self, password: str) -> None:
        """The registry reads its file anew when it has changed."""
        draft = self.folder / "htpasswd.new"
        draft.write_text(f"{USER}:{bcrypt(password)}\n")
        draft.replace(self.folder / "htpasswd")


def bcrypt(password: str) -> str:
    """A line's hash for htpasswd, by the C library that every Linux has; the registry takes no other kind."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = f"$2b$04${secrets.token_hex(11)}"
    hashed: bytes | None = library.crypt(password.encode(), salt.encode())
    assert hashed is not None
    assert hashed.startswith(b"$2b$"), hashed
    return hashed.decode()


def require_registry() -> str:
    if (found := shutil.which("docker-registry")) is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail("CI must have docker-registry (Debian: docker-registry)")
    pytest.skip("docker-registry is not installed (apt-get install docker-registry)")


def free_port(host: str) -> int:
    with socket.socket() as taken:
        taken.bind((host, 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def open_registry(folder: Path, engine: Any, host: str = "127.0.0.1") -> Generator[Registry]:
    """On any other address of this machine dockerd takes it for one that speaks TLS."""
    program, server = require_registry(), f"{host}:{free_port(host)}"
    folder.mkdir()
    made = Registry(server, folder, engine, [])
    made.set_password(PASSWORD)
    config = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}, "level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": server},
        "auth": {"htpasswd": {"realm": REALM, "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        eventually("the registry asks for a login", lambda: _status(server) == 401)
        yield made
    finally:
        process.kill()
        process.wait()
        for image in made.pushed:
            made.forget(image)


def _status(server: str) -> int:
    try:
        with contextlib.closing(http.client.HTTPConnection(server, timeout=5)) as connection:
            connection.request("GET", "/v2/")
            return connection.getresponse().status
    except OSError:
        return 0
