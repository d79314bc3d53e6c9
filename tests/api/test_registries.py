"""Logins to image registries: kept, listed, refused, used and lost, without a registry."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.server.services import registries

from .home import JOBS, Api, open_api
from .test_privacy import user

PATH, WORKSPACE = "/homeport/registries", "/api/v2/workspaces/local/workspace"
PASSWORD = "walnut-7c20-login"
NEW = {"name": "mine", "server": "reg.example:5000", "username": "alice", "password": PASSWORD}
IMAGE = "reg.example:5000/tool:1"
PRIVATE: Any = {"container": {"image": IMAGE, "command": ["true"]}, "image_pull_secrets": ["mine"]}


async def add(api: Api, **more: Any) -> Any:
    answer = await api.client.post(PATH, json=NEW | more)
    assert answer.status_code == 201, answer.text
    return answer.json()


def events(api: Api, job_id: str, reason: str) -> list[str]:
    rows = api.at.home.services.store.events_of(job_id)
    return [row.message for row in rows if row.reason == reason]


def test_login_is_listed_without_its_password_and_counted(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = await add(api)
        assert made == {
            "name": "mine", "server": "reg.example:5000", "username": "alice",
            "owner": "admin@homeport.local", "visibility": "public",
            "created_at_ms": api.at.clock.now_ms(),
        }  # fmt: skip
        assert (await api.client.get(PATH)).json() == [made]
        counts = (await api.client.get(WORKSPACE)).json()["workloads"]
        assert counts["num_image_pull_secrets"] == 1
        assert (await api.client.delete(f"{PATH}/mine")).status_code == 200
        assert (await api.client.get(PATH)).json() == []
        gone = await api.client.delete(f"{PATH}/mine")
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found")

    play(scenario)


def test_login_needs_a_token(play: Any) -> None:
    async def scenario(api: Api) -> None:
        for method in ("GET", "POST"):
            assert (await api.anybody.request(method, PATH, json=NEW)).status_code == 401
        assert (await api.anybody.delete(f"{PATH}/mine")).status_code == 401

    play(scenario)


def test_private_login_is_its_owners_and_admins_only(play: Any) -> None:
    async def scenario(api: Api) -> None:
        ada, bob = await user(api, "ada@example.org"), await user(api, "bob@example.org")
        hers = NEW | {"name": "hers", "visibility": "private"}
        for body, headers in ((hers, ada), (NEW | {"name": "ours"}, ada), (NEW | {"name": "his"}, bob)):
            assert (await api.client.post(PATH, json=body, headers=headers)).status_code == 201

        async def names(headers: dict[str, str] | None = None) -> list[str]:
            return [one["name"] for one in (await api.client.get(PATH, headers=headers)).json()]

        assert await names(ada) == ["hers", "his", "ours"] == await names()
        assert await names(bob) == ["his", "ours"]
        counts = (await api.client.get(WORKSPACE, headers=bob)).json()["workloads"]
        assert counts["num_image_pull_secrets"] == 3
        gone = await api.client.delete(f"{PATH}/hers", headers=bob)
        assert (gone.status_code, gone.json()["message"]) == (404, "no registry login named 'hers'")
        refused = await api.client.delete(f"{PATH}/ours", headers=bob)
        assert (refused.status_code, "ada@example.org's" in refused.json()["message"]) == (403, True)
        assert await names() == ["hers", "his", "ours"]
        for name, headers in (("hers", ada), ("his", bob), ("ours", None)):
            assert (await api.client.delete(f"{PATH}/{name}", headers=headers)).status_code == 200

    play(scenario)


def test_private_login_goes_with_its_owners_workloads_only(play: Any) -> None:
    async def scenario(api: Api) -> None:
        ada, bob = await user(api, "ada@example.org"), await user(api, "bob@example.org")
        for name, visibility in (("ours", "public"), ("hers", "private")):
            body = NEW | {"name": name, "visibility": visibility}
            headers = ada if name == "hers" else bob
            assert (await api.client.post(PATH, json=body, headers=headers)).status_code == 201
        names = ["ours", "hers"]
        for headers, expected, unknown in ((ada, ["hers", "ours"], 0), (bob, ["ours"], 1)):
            body = {"metadata": {"id": "j"}, "spec": PRIVATE | {"image_pull_secrets": names}}
            body["spec"] |= {"resource_shape": "cpu.small", "stopped": True}
            made = (await api.client.post(JOBS, json=body, headers=headers)).json()["metadata"]["id"]
            workload = api.at.home.services.store.get_workload("local", made)
            assert workload is not None
            found = registries.logins_for(api.at.home.services, workload, IMAGE)
            assert [login.name for login in found.logins] == expected  # the owner's own before others'
            assert len(found.unusable) == unknown
            assert len(events(api, made, "FailedToRetrieveImagePullSecret")) == unknown

    play(scenario)


def test_docker_hub_is_kept_under_one_name(play: Any) -> None:
    async def scenario(api: Api) -> None:
        assert (await add(api, server="index.docker.io"))["server"] == "docker.io"
        assert (await add(api, name="other", server="GHCR.io"))["server"] == "ghcr.io"

    play(scenario)


@pytest.mark.parametrize(
    ("more", "status", "word"),
    [
        ({"name": ""}, 400, "name"),
        ({"name": "a/b"}, 400, "name"),
        ({"name": "a" * 64}, 400, "name"),
        ({"server": "https://reg.example"}, 400, "without a scheme"),
        ({"server": "reg example"}, 400, "server"),
        ({"server": ""}, 400, "server"),
        ({"username": ""}, 400, "username"),
        ({"username": "a:b"}, 400, "username"),
        ({"username": "a\nb"}, 400, "username"),
        ({"password": ""}, 400, "password: is empty; pipe it in with --password-stdin"),
        ({"password": " \n"}, 400, "password"),
        ({"password": "x\0"}, 400, "password"),
        ({"password": PASSWORD * 1000}, 400, "password"),
        ({"password": [PASSWORD]}, 422, "password"),
        ({"name": [PASSWORD]}, 422, "name"),
        ({"server": None}, 422, "server"),
    ],
)
def test_bad_login_is_refused_by_field_and_never_repeated(
    play: Any, more: dict[str, Any], status: int, word: str
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(PATH, json=NEW | more)
        assert (answer.status_code, answer.json()["code"]) == (status, "invalid")
        assert word in answer.json()["message"]
        assert PASSWORD not in answer.text
        without = {key: value for key, value in NEW.items() if key != "server"}
        assert PASSWORD not in (await api.client.post(PATH, json=without)).text
        assert (await api.client.get(PATH)).json() == []

    play(scenario)


def test_name_that_is_taken_is_a_conflict(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await add(api)
        again = await api.client.post(PATH, json=NEW | {"password": "other"})
        assert (again.status_code, again.json()["code"]) == (409, "conflict")
        assert "'mine'" in again.json()["message"]

    play(scenario)


def test_only_unknown_names_are_told_about(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await add(api)
        made = (await api.submit(image_pull_secrets=["mine", "unknown"]))["metadata"]["id"]
        (told,) = events(api, made, "FailedToRetrieveImagePullSecret")
        assert "'unknown'" in told
        assert "homeport registry add" in told

    play(scenario)


def test_pull_is_tried_again_with_growing_pauses_and_ends_when_stopped(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await add(api)
        made = (await api.submit(**PRIVATE))["metadata"]["id"]

        def tries() -> int:  # the same event twice counts as two
            rows = api.at.home.services.store.events_of(made)
            return sum(row.count for row in rows if row.reason == "ImagePullBackOff")

        for number, pause_s in enumerate((10, 20, 40, 80, 160, 300, 300), start=1):
            await api.at.until(f"try {number}", lambda number=number: tries() == number)
            assert events(api, made, "ImagePullBackOff")[-1].endswith(f"next try in {pause_s} s")
            api.at.clock.advance(pause_s - 1)
            other = (await api.submit("other"))["metadata"]["id"]  # nobody else waits
            await api.becomes(other, "running")
            assert tries() == number
            api.at.clock.advance(1)
        await api.client.patch(f"/api/v2/workspaces/local/jobs/{made}", json={"spec": {"stopped": True}})
        await api.becomes(made, "stopped")

    play(scenario, Rule(image=IMAGE, refuse_pull="the registry is on fire"))


def test_login_that_was_removed_is_an_event_and_a_new_one_is_used(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await add(api)
        await api.client.delete(f"{PATH}/mine")
        made = (await api.submit(**PRIVATE))["metadata"]["id"]
        await api.at.until("a try", lambda: events(api, made, "ImagePullBackOff"))
        assert len(events(api, made, "FailedToRetrieveImagePullSecret")) == 2  # when made, and when pulled
        workload = api.at.home.services.store.get_workload("local", made)
        assert workload is not None
        for password in ("first", "second"):
            await add(api, password=password)
            (login,) = registries.logins_for(api.at.home.services, workload, IMAGE).logins
            assert login.password == password
            await api.client.delete(f"{PATH}/mine")

    play(scenario, Rule(image=IMAGE, refuse_pull="gone"))


def test_logins_of_the_images_registry_are_tried_in_the_order_in_which_they_are_named(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await add(api, name="hub", server="docker.io")
        await add(api, name="a")
        await add(api, name="b")
        names = ["unknown", "hub", "b", "a"]
        made = (await api.submit(**PRIVATE | {"image_pull_secrets": names}))["metadata"]["id"]
        workload = api.at.home.services.store.get_workload("local", made)
        assert workload is not None
        found = registries.logins_for(api.at.home.services, workload, IMAGE)
        assert ([login.name for login in found.logins], len(found.unusable)) == (["b", "a"], 1)
        other = registries.logins_for(api.at.home.services, workload, "tool:1")  # what another replica runs
        assert [login.name for login in other.logins] == ["hub"]

    play(scenario)


def test_lost_key_is_said_on_every_use_and_never_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, refusing = tmp_path / "data", (Rule(image=IMAGE, refuse_pull="denied"),)
    secret = [{"name": "KEY", "value": "x"}]

    async def scenario() -> None:
        async with open_api(data) as api:
            await add(api)
        (data / "secret.key").rename(data / "away")
        async with open_api(data, refusing) as api:
            assert "1 registry login(s) cannot be opened (mine)" in caplog.text
            for path, body in ((PATH, NEW | {"name": "b"}), ("/api/v2/workspaces/local/secrets", secret)):
                answer = await api.client.post(path, json=body)
                assert (answer.status_code, answer.json()["code"]) == (500, "store_refused")
            assert not (data / "secret.key").exists()
            made = (await api.submit(**PRIVATE))["metadata"]["id"]
            await api.at.until("a try", lambda: events(api, made, "ImagePullBackOff"))
            (told,) = events(api, made, "FailedToRetrieveImagePullSecret")
            assert "'mine' cannot be opened" in told
            (data / "away").rename(data / "secret.key")
            await add(api, name="b")
        assert PASSWORD not in caplog.text

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_login_moved_to_another_server_in_the_database_does_not_open(play: Any) -> None:
    """Somebody who can write the database must not get a password sent to a host of theirs."""

    async def scenario(api: Api) -> None:
        from sqlmodel import Session, select

        from homeport.server.store.tables import RegistryRow

        def move(session: Session) -> None:
            row = session.exec(select(RegistryRow)).one()
            row.doc = row.doc.replace("reg.example:5000", "evil.example:5000")
            session.add(row)

        await add(api)
        await api.at.home.services.store.write(move)
        image: Any = {"image": "evil.example:5000/tool:1", "command": ["true"]}
        made = (await api.submit(**PRIVATE | {"container": image}))["metadata"]["id"]
        workload = api.at.home.services.store.get_workload("local", made)
        assert workload is not None
        found = registries.logins_for(api.at.home.services, workload, image["image"])
        assert (found.logins, len(found.unusable)) == ((), 1)

    play(scenario)
