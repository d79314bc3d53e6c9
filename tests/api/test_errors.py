"""What a client is told when a request cannot be served: status and body of every kind of refusal."""

from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.server.api.middleware import MAX_BODY_BYTES

from .home import JOBS, Api

JOB = {"metadata": {"id": "x"}, "spec": {"resource_shape": "cpu.small", "container": {"image": "a:1"}}}


def job(**spec: Any) -> dict[str, Any]:
    return {**JOB, "spec": JOB["spec"] | spec}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "says"),
    [
        ("GET", f"{JOBS}/nobody", None, 404, "not_found", "nobody"),
        ("GET", "/api/v2/workspaces/other/jobs", None, 404, "not_found", "other"),
        ("GET", "/api/v2/workspaces/local/nothing", None, 404, "not_found", ""),
        ("GET", "/nothing", None, 404, "not_found", "coverage"),
        ("GET", "/homeport/nothing", None, 404, "not_found", "/homeport/nothing"),
        ("PUT", "/homeport/clock", None, 405, "method_not_allowed", "does not take PUT"),
        ("PATCH", JOBS, None, 405, "method_not_allowed", ""),
        ("POST", JOBS, {"metadata": {"id": "x"}, "spec": []}, 422, "invalid", "spec"),
        ("POST", JOBS, job(completions="many"), 422, "invalid", "spec.completions"),
        ("POST", JOBS, job(resource_shape="gpu.none"), 400, "invalid", "cpu.small"),
        ("POST", JOBS, job(completions=0), 422, "invalid", "spec.completions"),
        ("POST", JOBS, {**JOB, "metadata": {"id": "Not A Name"}}, 400, "invalid", "metadata.id"),
        ("POST", JOBS, job(affinity={"allowed_dedicated_node_groups": ["g9"]}), 400, "invalid", "g9"),
        ("POST", JOBS, job(reservation_config={"reservation_id": "r9"}), 400, "invalid", "r9"),
        (
            "POST", JOBS,
            job(envs=[{"name": "A", "value_from": {"secret_name_ref": "s9"}}]), 400, "invalid", "s9",
        ),
        (
            "POST", JOBS,
            job(mounts=[{"path": "/a", "mount_path": "/m", "from": "node-nfs:nowhere"}]), 400, "invalid",
            "nowhere",
        ),
        ("GET", f"{JOBS}?page=many", None, 422, "invalid", "page"),
        ("GET", "/api/v2/workspaces/local/logs", None, 400, "invalid", "job"),
        ("GET", "/api/v2/workspaces/local/rayclusters", None, 501, "not_implemented", "coverage"),
        ("DELETE", "/api/v2/workspaces/local/secrets/none", None, 404, "not_found", "none"),
    ],
)  # fmt: skip
def test_refusal_names_the_field(
    play: Any, method: str, path: str, body: Any, status: int, code: str, says: str
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.request(method, path, json=body)
        told = answer.json()
        assert (answer.status_code, told["code"]) == (status, code), answer.text
        assert says in told["message"]

    play(scenario)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b'"text"', b"null"])
def test_body_that_is_no_object_is_a_422(play: Any, body: bytes) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(JOBS, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text

    play(scenario)


def test_body_that_is_too_large_is_a_413_and_leaves_nothing(play: Any) -> None:
    async def scenario(api: Api) -> None:
        padded = b'{"pad": "' + b"x" * MAX_BODY_BYTES + b'"}'
        announced = await api.client.post(JOBS, content=padded)

        async def pieces():  # type: ignore[no-untyped-def]
            for at in range(0, len(padded), 2**20):
                yield padded[at : at + 2**20]

        streamed = await api.client.post(JOBS, content=pieces())
        for answer in (announced, streamed):
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert (await api.client.get(JOBS)).json() == []

    play(scenario)


def test_error_of_ours_is_a_500_without_its_trace(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(api.at.home.services.store.reads, "get", broken)
        monkeypatch.setattr(type(api.at.home.services.store.reads), "get", broken)
        for path in (f"{JOBS}/any", "/homeport/why/any"):
            answer = await api.client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (500, "internal")
            assert "secret detail" not in answer.text

    play(scenario)


def test_launch_that_is_refused_ends_the_job_and_says_why(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit())["metadata"]["id"]
        await api.becomes(made, "failed")
        events = (await api.client.get(f"{JOBS}/{made}/events")).json()
        assert ("FailedToStart", "no such thing") in [(e["reason"], e["message"]) for e in events]

    play(scenario, Rule(refuse="no such thing"))
