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


def test_reservation_is_only_for_those_it_was_made_for(process_home: World, sdk: Sdk) -> None:
    home = process_home
    home.login()
    assert "is for ada@example.org" in reserve(home, "add", "for-ada", "--user", "ada@example.org")
    (listed,) = sdk.run(home, "result = client.nodegroup.list_reservations('default')")
    assert listed["spec"]["users"] == ["ada@example.org"]
    assert reserve(home, "list").splitlines()[-1].split()[-1] == "ada@example.org"
    with pytest.raises(SdkError, match=r"'for-ada' is kept for ada@example\.org"):
        sdk.create(home, "mine", WAIT, reservation_config={"reservation_id": "for-ada"})
    reserve(home, "remove", "for-ada")
    reserve(home, "add", "for-us", "--user", "local")
    ours = sdk.create(home, "ours", WAIT, reservation_config={"reservation_id": "for-us"})
    eventually("ours to run", lambda: sdk.state(home, ours) == "Running")


def test_reservation_that_has_not_begun_holds_nothing_yet(process_home: World, sdk: Sdk) -> None:
    home = process_home
    home.login()
    reserve(home, "add", "later", "--from", "2100-01-01", "--hours", "1")
    (listed,) = sdk.run(home, "result = client.nodegroup.list_reservations('default')")
    assert (listed["status"]["phase"], listed["status"]["reserved_count"]) == ("WaitingEffective", 0)
    outside, early = (
        sdk.create(home, "outside", WAIT),
        sdk.create(home, "early", WAIT, reservation_config={"reservation_id": "later"}),
    )
    eventually("the one outside to run", lambda: sdk.state(home, outside) == "Running")
    assert sdk.state(home, early) == "Queueing"
