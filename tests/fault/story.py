"""The life of one job, under a server that dies on the way; and what must be true on the machine."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

COMMAND = "echo run >> /story/runs; echo first; trap 'echo last; exit 0' TERM; while true; do sleep 0.1; done"
MOUNT = {"path": "/story", "mount_path": "/story", "from": "node-nfs:lepton-shared-fs"}
# On the simulated runtime it makes the job stay until it is stopped.
PORT = {"container_port": 8080, "protocol": "tcp", "expose_strategies": ["HostPortMapping"]}
EVENTS = ("Created", "Scheduled", "Started", "StopRequested", "Stopped", "DeleteRequested", "Archived")
EVENTS_OF_DELETED = ("Created", "Scheduled", "Started", "DeleteRequested", "Stopped", "Archived")


class Story:
    """
    Created, running, stopped, deleted. A server that has died is started again, with the
    crash point until it has died twice, as one that dies while it recovers.
    """

    def __init__(self, home: World, sdk: Sdk, point: str, workers: int = 1) -> None:
        self.home, self.sdk, self.workers, self.deaths = home, sdk, workers, 0
        self._is_stopped = False
        self._armed = {"HOMEPORT_TESTING": "1", "HOMEPORT_CRASH_AT": f"{point}:1"}
        self._began = int(time.time())
        home.start(**self._armed)
        ports = {"ports": [PORT]} if home.runtime == "simulated" else {}
        self.job = sdk.create(
            home, "once", COMMAND, resource_shape="gpu.h100-sxm", mounts=[MOUNT], completions=workers,
            parallelism=workers,
            container={"image": home.image, "command": ["/bin/bash", "-c", COMMAND], **ports},
        )  # fmt: skip

    def reach(self, state: str, *, deaths: int) -> None:
        def is_reached() -> bool:
            return self.deaths == deaths and self.sdk.state(self.home, self.job) == state

        eventually(f"{state} after {deaths} deaths", lambda: self._alive(is_reached))

    def stop(self) -> None:
        code = "result = client.job.update(job, spec={'spec': {'stopped': True}})"
        self._ask("stopped", code)
        self._is_stopped = True

    def delete(self) -> None:
        self._ask("deleted", "result = client.job.delete(job)")

    def _ask(self, what: str, code: str) -> None:
        def ask() -> bool:
            self.sdk.run(self.home, code, job=self.job)
            return True

        eventually(what, lambda: self._alive(ask))

    def _alive(self, ask: Callable[[], bool]) -> bool:
        """Its answer; False where there was no server to give one."""
        assert self.home.server is not None
        if self.home.server.poll() is not None:
            self.deaths += 1
            self.home.start(**(self._armed if self.deaths == 1 else {}))
        try:
            return ask()
        except SdkError:
            if self.home.server.wait(timeout=5) is None:
                raise
            return False

    # What must be true.

    def check_running(self) -> None:
        assert len(self.home.containers()) == self.workers
        assert self._leases() == self.workers
        if self.home.runtime == "process":
            assert len(command_groups(self.home)) == self.workers
        if self.home.runtime != "simulated":
            assert self._wait_for_marks() == "run\n" * self.workers
        if self.workers > 1 and self.home.runtime == "docker":
            assert len(self.home.networks(self.job)) == 1

    def check_stopped(self) -> None:
        eventually("no container", lambda: self._alive(lambda: self.home.containers() == []))
        assert command_groups(self.home) == set()
        assert self._leases() == 0
        if self.home.runtime != "simulated":
            assert self.sdk.log(self.home, self.job) == "first\nlast\n"

    def check_archived(self) -> None:
        """Nothing is left on the machine, and nothing that was said is lost."""
        listed = "result = [j.metadata.id_ for j in client.job.list_all(job_query_mode=mode)]"
        assert self.sdk.run(self.home, listed, mode="alive_only") == []
        assert self.sdk.run(self.home, listed, mode="archive_only") == [self.job]
        eventually("no network", lambda: self._alive(lambda: self._groups() == []))
        assert self.home.containers() == []
        for folder in ("processes", "mounts"):
            path = self.home.data_dir / folder
            assert not path.exists() or os.listdir(path) == []
        assert str(self.home.data_dir) not in Path("/proc/self/mounts").read_text()
        assert list(self.home.data_dir.glob("logs/*.part")) == []
        assert self._started() == self.workers
        events = self.sdk.run(self.home, "result = client.job.get_events(job)", job=self.job)
        told = [e["reason"] for e in events for _ in range(e["count"])]
        each = {"Scheduled": self.workers, "Started": self.workers, "Stopped": self.workers}
        expected = EVENTS if self._is_stopped else EVENTS_OF_DELETED
        assert told == [reason for reason in expected for _ in range(each.get(reason, 1))]
        if self.home.runtime != "simulated":
            assert self.sdk.log(self.home, self.job) == "first\nlast\n"

    def _leases(self) -> int:
        with contextlib.closing(sqlite3.connect(self.home.data_dir / "homeport.db")) as database:
            return database.execute("SELECT count(*) FROM gpu_lease").fetchone()[0]

    def _groups(self) -> list[str]:
        if self.home.runtime == "simulated":
            made = {r["group"] for r in self.home.journal() if r["op"] == "create" and r["group"]}
            return sorted(made - {r["name"] for r in self.home.journal() if r["op"] == "remove_group"})
        return self.home.networks(self.job)

    def _wait_for_marks(self) -> str:
        eventually("a mark", lambda: len(marks(self.home)) >= len("run\n") * self.workers)
        return marks(self.home)

    def _started(self) -> int:
        """How often something was started, over the whole story."""
        if self.home.runtime == "docker":
            return len(docker_events(self.home, "start", self._began))
        if self.home.runtime == "simulated":
            return sum(record["op"] == "create" for record in self.home.journal())
        return marks(self.home).count("run")


def marks(home: World) -> str:
    """What the commands wrote as they began, in the mounted directory."""
    return "".join(path.read_text() for path in home.data_dir.glob("volumes/**/story/runs"))


def command_groups(home: World) -> set[int]:
    """Process groups of commands that live below the data directory."""
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = os.readlink(process / "cwd")
            if where.startswith(f"{home.data_dir}/processes/") and where.endswith("/work"):
                found.add(int((process / "stat").read_text().rpartition(")")[2].split()[2]))
    return found


def docker_events(home: World, what: str, since_s: int) -> list[Mapping[str, Any]]:
    labels = {"label": f"homeport.instance={home.instance()}", "event": what}
    return list(home.engine.events(since=since_s, until=int(time.time()) + 1, filters=labels, decode=True))
