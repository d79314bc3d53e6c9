"""Reservations: made through Homeport's own command, listed and used by the real client."""

import subprocess
import sys

import pytest

from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

WAIT = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


def reserve(home: World, *args: str) -> str:
    argv = [sys.executable, "-m", "homeport", "reservation", *args, "--data-dir", str(home.data_dir)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reserved_node_takes_only_what_names_the_reservation(process_home: World, sdk: Sdk) -> None:
    home = process_home
    home.login()
    assert "team-a holds" in reserve(home, "add", "team-a", "--hours", "2")
    assert "team-a" in home.lep("node", "list-reservations", "default")
    listed = sdk.run(home, "result = client.nodegroup.list_reservations('default')")
    assert (listed[0]["status"]["phase"], listed[0]["status"]["reserved_count"]) == ("Reserved", 1)
    outside = sdk.create(home, "outside", WAIT)
    inside = sdk.create(home, "inside", WAIT, reservation_config={"reservation_id": "team-a"})
    eventually("the one inside to run", lambda: sdk.state(home, inside) == "Running")
    assert sdk.state(home, outside) == "Queueing"
    events = sdk.run(home, "result = [str(e.regarding) for e in client.job.get_events(job)]", job=outside)
    assert "kept for reservation team-a" in " ".join(events)
    reserve(home, "remove", "team-a")
    eventually("its turn", lambda: sdk.state(home, outside) == "Running")
    with pytest.raises(SdkError, match="no reservation 'team-a'"):
        sdk.create(home, "late", WAIT, reservation_config={"reservation_id": "team-a"})
