"""`homeport exec-in` as a user types it, in pipes and at a terminal, against a server that runs."""

import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from fcntl import ioctl

import pytest

from homeport.runtime.drivers.process.supervisor.processes import is_running
from tests.conftest import RUNTIMES
from tests.sdk import Sdk, open_sdk
from tests.world import World, eventually, world


@pytest.fixture(scope="module", params=RUNTIMES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server with a job `stays` that says where it is, and stays."""
    with world(tmp_path_factory.mktemp("exec-in"), request.param) as made, open_sdk("0.47.1") as sdk:
        made.start()
        start(made, sdk, "stays")
        yield made


def start(home: World, sdk: Sdk, name: str, **spec: object) -> str:
    job = sdk.create(home, name, "sleep 3600", envs=[{"name": "WHO", "value": name}], **spec)
    eventually("Running", lambda: sdk.state(home, job) == "Running")
    return job


def argv(home: World, *words: str) -> list[str]:
    return [sys.executable, "-m", "homeport", "exec-in", "--data-dir", str(home.data_dir), *words]


def exec_in(home: World, *words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(argv(home, *words), input=stdin, capture_output=True, timeout=60)


def bash(home: World, script: str, *options: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    done = exec_in(home, "stays", *options, "--", "/bin/bash", "-c", script, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def test_command_runs_in_the_container_and_its_exit_code_is_told(running: World) -> None:
    assert bash(running, "echo $WHO; echo oops >&2; exit 7") == (7, b"stays\n", b"oops\n")
    assert bash(running, "kill -9 $$") == (137, b"", b"")
    assert bash(running, "cat; test -t 0 || echo no terminal", stdin=b"in\n") == (
        0,
        b"in\nno terminal\n",
        b"",
    )


def test_every_byte_comes_through(running: World) -> None:
    data = random.Random(11).randbytes(5 * 2**20)
    done = exec_in(running, "stays", "--", "cat", stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == data


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_program_that_cannot_be_run_is_named(running: World, program: str, code: int) -> None:
    done = exec_in(running, "stays", "--", program, "-x")
    assert (done.returncode, done.stdout) == (code, b"")
    assert re.fullmatch(rf"Error: .*{program}.*\n", done.stderr.decode(), re.DOTALL)


def test_input_that_nobody_gives_is_at_its_end(running: World) -> None:
    closed = ["sh", "-c", f"exec {' '.join(argv(running, 'stays', '--', 'cat'))} <&-"]
    done = subprocess.run(closed, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_reader_that_has_had_enough_ends_the_command(running: World) -> None:
    command = " ".join(argv(running, "stays", "--", "yes"))
    done = subprocess.run(["bash", "-c", f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"],
                          capture_output=True, timeout=60)  # fmt: skip
    assert (done.stdout, done.stderr) == (b"y\n141\n", b"")


def pid_in(home: World, client: "subprocess.Popen[bytes]") -> int:
    assert client.stdout is not None
    return int(client.stdout.readline())


def is_gone(home: World, pid: int) -> bool:
    return bash(home, f"kill -0 {pid} 2> /dev/null || echo gone")[1] == b"gone\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_command_ends_with_its_client(running: World, number: signal.Signals, code: int) -> None:
    words = argv(running, "stays", "--", "/bin/bash", "-c", "echo $$; sleep 3599")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        pid = pid_in(running, client)
        client.send_signal(number)
        assert client.wait(timeout=20) == code
    eventually("its end", lambda: is_gone(running, pid))


def test_command_that_does_not_read_ends_with_its_client_too(running: World) -> None:
    words = argv(running, "stays", "--", "/bin/bash", "-c", "echo $$; sleep 3599")
    source = ["/bin/cat", "/dev/zero"]
    with (
        subprocess.Popen(source, stdout=subprocess.PIPE) as endless,
        subprocess.Popen(words, stdin=endless.stdout, stdout=subprocess.PIPE) as client,
    ):
        pid = pid_in(running, client)
        assert endless.stdout is not None
        endless.stdout.close()
        client.kill()
    eventually("its end", lambda: is_gone(running, pid), within_s=60)


class Terminal:
    """A real terminal with `homeport exec-in` at it."""

    def __init__(self, words: Sequence[str], columns: int, rows: int) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            words, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True
        )
        self.seen = b""

    def resize(self, columns: int, rows: int) -> None:
        ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def shows(self, text: bytes) -> None:
        end = time.monotonic() + 30
        while text not in self.seen and time.monotonic() < end:
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)
        assert text in self.seen, self.seen

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@contextmanager
def at_terminal(home: World, *words: str, columns: int = 80, rows: int = 24) -> Generator[Terminal]:
    terminal = Terminal(argv(home, *words), columns, rows)
    try:
        yield terminal
    finally:
        terminal.close()


def test_shell_at_a_terminal_is_a_shell_at_a_terminal(running: World) -> None:
    with at_terminal(running, "stays", "--", "/bin/bash", "--norc", columns=101, rows=31) as terminal:
        terminal.shows(b"bash-")
        assert not terminal.is_as_before
        terminal.type(b"until stty size | grep -q '31 101'; do sleep 0.1; done; echo si''zed $TERM\n")
        terminal.shows(b"sized xterm\r\n")
        terminal.resize(60, 20)
        terminal.type(b"until stty size | grep -q '20 60'; do sleep 0.1; done; echo again si''zed\n")
        terminal.shows(b"again sized\r\n")
        terminal.type(b"bash -c 'echo on''ward; exec sleep 3598'\n")
        terminal.shows(b"onward\r\n")  # by now it is what the keys go to
        terminal.type(b"\x03")
        terminal.type(b"echo still he''re\n")
        terminal.shows(b"still here\r\n")
        assert terminal.process.poll() is None
        terminal.type(b"exit 9\n")
        assert terminal.process.wait(timeout=20) == 9
        assert terminal.is_as_before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminal_is_put_back_when_the_client_is_told_to_end(running: World, number: signal.Signals) -> None:
    with at_terminal(running, "stays", "--", "/bin/bash", "--norc") as terminal:
        terminal.shows(b"bash-")
        terminal.process.send_signal(number)
        assert terminal.process.wait(timeout=20) == 128 + number
        assert terminal.is_as_before


def test_terminal_is_left_alone_without_one(running: World) -> None:
    command = ("--", "/bin/bash", "-c", "test -t 0 || echo none; exit 4")
    with at_terminal(running, "stays", "--no-tty", *command) as terminal:
        terminal.shows(b"none\r\n")
        assert terminal.process.wait(timeout=20) == 4
    code, out, _ = bash(running, "test -t 1 && echo one", "-t")
    assert (code, out) == (0, b"one\r\n")


def test_what_was_run_is_in_no_log(running: World) -> None:
    assert bash(running, "echo very-secret-word") == (0, b"very-secret-word\n", b"")
    log = (running.data_dir.parent / "server.log").read_bytes()
    assert b"runs a command in stays-" in log
    assert b"secret-word" not in log


def test_refusals_say_what_is_wrong(process_home: World, sdk: Sdk) -> None:
    home = process_home

    def refused(*words: str) -> str:
        done = exec_in(home, *words, "--", "true")
        assert (done.returncode, done.stdout) == (1, b"")
        return done.stderr.decode()

    assert refused("nobody") == "Error: no workload named 'nobody'\n"
    ended = sdk.create(home, "ended", "true")
    eventually("Completed", lambda: sdk.state(home, ended) == "Completed")
    assert refused("ended") == f"Error: no replica of {ended} runs; it is completed\n"
    stays = start(home, sdk, "stays")
    assert "no replica that runs named 'other" in refused(stays, "--replica", "other")
    token = home.values["LEPTON_WORKSPACE_TOKEN"]
    values = home.values | {"LEPTON_WORKSPACE_TOKEN": "wrong"}
    (home.data_dir / "credentials.json").write_text(json.dumps(values))
    assert "homeport env" in refused("stays")
    (home.data_dir / "credentials.json").write_text(json.dumps(values | {"LEPTON_WORKSPACE_TOKEN": token}))
    home.kill()
    assert "homeport serve" in refused("stays")


@pytest.mark.root_on_process
def test_replica_is_named_where_several_run(process_home: World, sdk: Sdk) -> None:
    job = start(process_home, sdk, "pair", completions=2, parallelism=2)
    replicas = [f"{job}-{index}-{job[-4:]}" for index in (0, 1)]
    eventually("both", lambda: len(process_home.containers()) == 2)
    several = exec_in(process_home, "pair", "--", "true")
    assert several.returncode == 1
    assert f"name one of {', '.join(replicas)}" in several.stderr.decode()
    for index, replica in enumerate(replicas):
        words = ("pair", "--replica", replica, "--", "/bin/bash", "-c", "echo $LEPTON_JOB_WORKER_INDEX")
        done = exec_in(process_home, *words)
        assert done.stdout.decode().strip() == str(index), done.stderr


def test_sessions_end_when_the_server_stops_or_the_job_does(home: World, sdk: Sdk) -> None:
    job = start(home, sdk, "stays")
    words = argv(home, "stays", "--", "/bin/bash", "-c", "echo $$; sleep 3599")

    def open_one() -> "subprocess.Popen[bytes]":
        client = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        pids.append(pid_in(home, client))
        return client

    pids: list[int] = []
    with open_one() as client:
        assert home.stop() == 0
        _, told = client.communicate(timeout=20)
        assert (client.returncode, told) == (255, b"Error: the server is stopping\n")
    home.start()
    eventually("its end", lambda: is_gone(home, pids[0]))
    with open_one() as client:
        sdk.run(home, "client.job.update(job, {'spec': {'stopped': True}})", job=job)
        _, told = client.communicate(timeout=60)
        assert client.returncode == 137, told


def test_session_is_encrypted_where_the_server_is(process_home: World, sdk: Sdk) -> None:
    start(process_home, sdk, "stays")
    process_home.stop()
    process_home.start(["--tls"])
    assert process_home.values["LEPTON_WORKSPACE_URL"].startswith("https://")
    eventually("it is seen again", lambda: exec_in(process_home, "stays", "--", "true").returncode == 0)
    data = random.Random(3).randbytes(2**20)
    done = exec_in(process_home, "stays", "--", "cat", stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_command_of_a_killed_server_is_gone(process_home: World, sdk: Sdk) -> None:
    start(process_home, sdk, "stays")
    words = argv(process_home, "stays", "--", "/bin/bash", "-c", "echo $$; exec sleep 3599")
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as client:
        pid = pid_in(process_home, client)
        process_home.kill()
        _, told = client.communicate(timeout=20)
        assert (client.returncode, told) == (255, b"Error: the connection was lost\n")
    eventually("its end", lambda: not is_running(pid))


def test_command_runs_in_a_pod(home: World) -> None:
    home.login()
    home.lep("pod", "create", "-n", "dev", "--resource-shape", "cpu.small", "--container-image", home.image)
    eventually("it runs", lambda: exec_in(home, "dev", "--", "true").returncode == 0)
    done = exec_in(home, "dev", "--", "/bin/bash", "-c", "echo from the pod; cat", stdin=b"and to it\n")
    assert (done.returncode, done.stdout) == (0, b"from the pod\nand to it\n")
