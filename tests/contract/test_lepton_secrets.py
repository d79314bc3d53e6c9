"""Secrets, with the unmodified `lep` CLI of leptonai 0.47.1 and the requests of older clients."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.contract.test_lepton_storage import call, refused
from tests.files import files_below
from tests.world import World, world

VALUE = "walnut-9d2f-value"


@pytest.fixture
def home(tmp_path: Path) -> Generator[World]:
    with world(tmp_path, "process") as made:
        made.start(LOGLEVEL="DEBUG")
        yield made


def everything_written(home: World) -> bytes:
    """Every file of the data directory, and the server's log."""
    log = (home.data_dir.parent / "server.log").read_bytes()
    return b"".join([*files_below(home.data_dir).values(), log])


def test_secret_is_created_listed_and_removed(home: World) -> None:
    home.login()
    home.lep("secret", "create", "-n", "KEY", "-v", VALUE, "-n", "OPEN", "-v", f"{VALUE}2", "--public-key")
    home.lep("secret", "create", "-n", "MINE", "-v", VALUE)
    assert call(home, "GET", "/usersecrets") == [
        {"name": n, "owner": "admin@homeport.local", "visibility": v, "tags": []}
        for n, v in (("KEY", "public"), ("MINE", "private"), ("OPEN", "public"))
    ]
    listed = home.lep("secret", "list", "--visibility", "public")
    assert [name in listed for name in ("KEY", "OPEN", "MINE", VALUE)] == [True, True, False, False]
    assert "already exists" in home.lep("secret", "create", "-n", "KEY", "-v", "other", ok=False)
    home.lep("secret", "remove", "-n", "KEY")
    assert "KEY" not in [s["name"] for s in call(home, "GET", "/usersecrets")]
    assert refused(home, "DELETE", "/usersecrets/KEY")[0] == 404


def test_secret_of_older_clients_is_the_same_one(home: World) -> None:
    home.login()
    call(home, "POST", "/secrets", [{"name": "OLD", "value": VALUE}])
    assert call(home, "GET", "/secrets") == ["OLD"]
    assert "OLD" in home.lep("secret", "list")
    call(home, "DELETE", "/secrets/OLD")
    assert call(home, "GET", "/usersecrets") == []


def test_value_is_in_no_file_and_no_answer(home: World) -> None:
    call(home, "POST", "/usersecrets", [{"name": "KEY", "value": VALUE}])
    answer = refused(home, "POST", "/usersecrets", [{"name": "KEY", "value": VALUE}])
    assert answer[0] == 409
    bad = refused(home, "POST", "/usersecrets", [{"name": "1 bad", "value": VALUE}])
    assert bad[0] == 400
    odd = refused(home, "POST", "/usersecrets", [{"name": "K", "value": [VALUE]}])
    assert odd[0] == 422
    long = refused(home, "POST", "/usersecrets", [{"name": "K", "value": VALUE * 10_000}])
    assert long[0] == 400
    assert VALUE not in f"{answer}{bad}{odd}{long}"
    home.kill()  # what SQLite still had in its log is then in the files, too
    assert VALUE.encode() not in everything_written(home)
    assert (home.data_dir / "secret.key").stat().st_mode & 0o777 == 0o600


def test_list_of_secrets_is_created_whole_or_not_at_all(home: World) -> None:
    call(home, "POST", "/usersecrets", [{"name": "TAKEN", "value": "x", "tags": ["a", "b"]}])
    wanted = [{"name": "NEW", "value": "x"}, {"name": "TAKEN", "value": "y"}]
    assert refused(home, "POST", "/usersecrets", wanted)[0] == 409
    assert refused(home, "POST", "/usersecrets", [wanted[0], wanted[0]])[0] == 400
    assert refused(home, "POST", "/usersecrets", [wanted[0], {"name": "NONE"}])[0] == 400
    assert [(s["name"], s["tags"]) for s in call(home, "GET", "/usersecrets")] == [("TAKEN", ["a", "b"])]


def test_name_that_no_environment_variable_could_have_is_refused(home: World) -> None:
    for name in ("", "1ST", "A B", "A/B", "A=B", "é", "A" * 254):
        assert refused(home, "POST", "/usersecrets", [{"name": name, "value": "x"}])[0] == 400, name


def test_workspace_token_is_a_secret_like_any_other(home: World) -> None:
    home.login()
    token = home.values["LEPTON_WORKSPACE_TOKEN"]
    call(home, "POST", "/usersecrets", [{"name": "LEPTON_WORKSPACE_TOKEN", "value": token}])
    assert "LEPTON_WORKSPACE_TOKEN" in home.lep("secret", "list")


def test_wrong_passphrase_is_said_at_start_and_on_use(home: World) -> None:
    home.stop()
    home.start(HOMEPORT_SECRET_KEY="right one")
    call(home, "POST", "/usersecrets", [{"name": "KEY", "value": VALUE}])
    home.stop()
    home.start(HOMEPORT_SECRET_KEY="wrong one")
    log = (home.data_dir.parent / "server.log").read_text()
    assert "1 secret(s) cannot be opened (KEY)" in log
    assert "right one" not in log + everything_written(home).decode(errors="replace")
    status, body = refused(home, "POST", "/usersecrets", [{"name": "NEW", "value": VALUE}])
    assert (status, body["code"]) == (500, "store_refused")
    assert "HOMEPORT_SECRET_KEY" in body["message"]
    call(home, "DELETE", "/usersecrets/KEY")
    call(home, "POST", "/usersecrets", [{"name": "NEW", "value": VALUE}])


def test_empty_passphrase_and_relative_host_path_are_start_up_errors(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "homeport", "serve", "--port", "0", "--data-dir", str(tmp_path)]
    for more, env, word in (
        ([], {"HOMEPORT_SECRET_KEY": ""}, "HOMEPORT_SECRET_KEY"),
        (["--allow-host-path", "srv"], {}, "--allow-host-path"),
    ):
        done = subprocess.run(
            [*argv, *more], capture_output=True, text=True, timeout=60, env=os.environ | env
        )
        assert (done.returncode, word in done.stderr) == (1, True)
