"""Every list of the command line: its columns, the same for programs, and a line where there is nothing."""

import json
import os
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from homeport.server.cli import main
from tests.world import World, world

HEADS = {
    "registry list": ["NAME", "SERVER", "USERNAME", "OWNER", "VISIBILITY", "CREATED"],
    "token list": ["TOKEN", "OWNER", "EXPIRES"],
    "reservation list": ["ID", "PHASE", "FROM", "UNTIL", "NODES", "FOR"],
    "fault list": ["ID", "KIND", "WHAT", "ADDED"],
    "rule list": ["NAME", "MATCHES", "WHAT HAPPENS", "FROM"],
    "status": ["ID", "KIND", "PHASE", "SHAPE", "PROJECT"],
}
NOTHING = {
    "registry list": "no registry logins; `homeport registry add` makes one",
    "reservation list": "no reservations; `homeport reservation add` makes one",
    "fault list": "no faults are in force",
    "rule list": "no rules: what serves runs until it is stopped, all else succeeds after a second",
    "status": "ok\nno workloads",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    with world(tmp_path_factory.mktemp("lists"), "simulated") as made:
        made.start()
        yield made


def said(home: World, command: str, *more: str, stdin: str = "") -> str:
    args = [*command.split(), *more, "--data-dir", str(home.data_dir)]
    done = CliRunner().invoke(main, args, input=stdin)
    assert done.exit_code == 0, done.output
    return done.stdout


def rows(home: World, command: str) -> list[dict[str, Any]]:
    told = json.loads(said(home, command, "--json"))
    return told["workloads"] if command == "status" else told


def test_lists_say_what_there_is_and_that_there_is_nothing(home: World) -> None:
    for command, line in NOTHING.items():
        assert (said(home, command), rows(home, command)) == (f"{line}\n", []), command
    login = ("--server", "ghcr.io", "--username", "alice", "--password-stdin", "--private")
    said(home, "registry add mine", *login, stdin="s3cret\n")
    said(home, "reservation add held")
    said(home, "fault add image-pull", "nvcr.io/*")
    said(home, "rule add slow --match-name x --run forever")
    home.login()
    job = home.create("waits", "true", "--image-pull-secrets", "mine")
    for command, heads in HEADS.items():
        lines = said(home, command).splitlines()
        at = 1 if command == "status" else 0
        assert [part.strip() for part in lines[at].split("  ") if part.strip()] == heads, command
        assert len(lines) == at + 1 + len(rows(home, command)) == at + 2, command
    (login_row,) = rows(home, "registry list")
    kept = {"name": "mine", "server": "ghcr.io", "username": "alice", "visibility": "private"}
    assert kept.items() <= login_row.items()
    assert "s3cret" not in json.dumps(login_row)
    (token,) = rows(home, "token list")
    assert said(home, "token list").splitlines()[1].startswith(f"{token['token']}  admin@homeport.local  ")
    assert "nvcr.io/*" in said(home, "fault list")
    assert "everybody" in said(home, "reservation list")
    assert rows(home, "status")[0]["id"] == job


@pytest.mark.parametrize("command", ["node list", "pool list", "project list", "department list"])
def test_what_every_server_has_is_listed_with_its_heads(home: World, command: str) -> None:
    head, *lines = said(home, command).splitlines()
    assert head.split()[0] == "NAME"
    assert (len(lines) >= 1, len(rows(home, command))) == (True, 1)


def test_every_command_and_option_says_what_it_is_for() -> None:
    def walk(command: Any, path: tuple[str, ...]) -> Generator[tuple[tuple[str, ...], Any]]:
        yield path, command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*path, name))

    for path, command in walk(main, ("homeport",)):
        assert command.help, path
        for option in command.params:
            if option.param_type_name == "option":
                assert option.help or option.type.name == "choice", (path, option.name)


def test_line_that_it_is_ready_tells_that_the_gateway_cannot_be(tmp_path: Path) -> None:
    with world(tmp_path, "process") as made, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = ready_line(made, tmp_path, port)
        assert f"; but no endpoint can be reached: cannot listen on 127.0.0.1:{port} (" in told
        assert "--gateway-port" in told
        made.stop()
        taken.close()
        assert ready_line(made, tmp_path, port).endswith(f"data in {made.data_dir})\n")


def ready_line(made: World, folder: Path, port: int) -> str:
    argv = ["serve", "--port", "0", "--gateway-port", str(port), "--runtime", "process"]
    made.server = made.spawn([*argv, "--data-dir", str(made.data_dir)], dict(os.environ), folder / "log")
    assert made.server is not None
    assert made.server.stdout is not None
    line = made.server.stdout.readline()
    assert line.startswith("homeport ready: http://127.0.0.1:"), (folder / "log").read_text()
    return line
