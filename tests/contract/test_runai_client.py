"""runapy's three clients: tokens, and what they do to requests on the way."""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.runai import KINDS, Runai, RunaiError, configuration
from tests.world import World, world

PROJECTS = "organizations.projects"
POOLS = "organizations.node_pools"
MAKE_PROJECT = """
cluster = done(client.organizations.clusters.get_clusters()).data[0]["uuid"]
made = models.ProjectCreationRequest(name=name, cluster_id=cluster, resources=[])
result = done(client.organizations.projects.create_project(made))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    with world(tmp_path_factory.mktemp("runai"), "simulated") as made:
        made.start()
        yield made


def token(home: World, body: dict[str, Any], path: str = "/api/v1/token") -> tuple[int, Any]:
    """Status and body of a request that the SDK has no spelling for."""
    return post(home, path, json.dumps(body).encode(), {"content-type": "application/json"})


def post(home: World, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    request = urllib.request.Request(home.values["RUNAI_BASE_URL"] + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


# --- tokens


@pytest.mark.parametrize("kind", KINDS)
def test_each_client_gets_a_token_and_lists_the_one_cluster(home: World, runai: Runai, kind: str) -> None:
    (cluster,) = runai.data(home, "organizations.clusters.get_clusters()", kind)
    assert cluster["name"] == "local"
    assert cluster["status"]["state"] == "Connected"
    again = runai.data(home, "organizations.clusters.get_cluster_by_uuid(uuid)", kind, uuid=cluster["uuid"])
    assert (again["uuid"], again["createdAt"]) == (cluster["uuid"], cluster["createdAt"])


def test_clients_with_their_defaults_work_as_the_readme_shows(home: World, runai: Runai) -> None:
    """Retries and refreshing on."""
    settings = configuration(home, retry_enabled=True)
    code = "result = [api_client.token_refresher._token_expiry, len(api_client._token.split('.'))]"
    expires, parts = runai.run_with(settings, code)
    claims = jwt.decode(token_of(runai, settings), options={"verify_signature": False})
    assert (expires, parts) == (claims["exp"], 3)
    assert claims["exp"] - claims["iat"] == 86400


def token_of(runai: Runai, settings: dict[str, Any]) -> str:
    return runai.run_with(settings, "result = api_client._token")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"client_secret": "wrong"}, "no application has this id and secret"),
        ({"client_id": "nobody"}, "no application has this id and secret"),
        ({"client_id": None, "client_secret": None}, "AppId: is missing"),
    ],
)
def test_wrong_credentials_are_refused_at_once_in_words(
    home: World, runai: Runai, settings: dict[str, Any], field: str
) -> None:
    """As a ValueError with the whole body: no retries, though they are on."""
    with pytest.raises(RunaiError, match="ValueError: Failed to get access token") as caught:
        runai.run_with(configuration(home, retry_enabled=True) | settings, "result = 1")
    assert field in str(caught.value)
    assert "homeport env" in str(caught.value)


GRANTS = """
request = models.TokenRequest(**fields)
result = done(client.authentication_and_authorization.tokens.grant_token(request))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_token_is_granted_for_each_grant_there_is(home: World, runai: Runai, kind: str) -> None:
    name, secret = home.values["RUNAI_CLIENT_ID"], home.values["RUNAI_CLIENT_SECRET"]

    def grant(**fields: str) -> dict[str, Any]:
        return runai.run(home, GRANTS, kind, fields=fields)["data"]

    first = grant(grant_type="app_token", app_id=name, app_secret=secret)
    assert first["expiresIn"] == 86400
    second = grant(grant_type="client_credentials", client_id=name, client_secret=secret)
    third = grant(grant_type="refresh_token", refresh_token=first["refreshToken"])
    for made in (first, second, third):
        assert made["accessToken"].count(".") == 2
        assert status_with(home, made["accessToken"]) == 200
    # A refresh token opens nothing but the token call.
    assert status_with(home, first["refreshToken"]) == 401


def status_with(home: World, bearer: str) -> int:
    url = home.values["RUNAI_BASE_URL"] + "/api/v1/clusters"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {bearer}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    "names",
    [("AppId", "AppSecret"), ("appID", "appSecret"), ("app_id", "app_secret"), ("APPID", "APPSECRET")],
)
def test_keys_of_a_token_request_are_read_however_they_are_spelt(home: World, names: tuple[str, str]) -> None:
    values = (home.values["RUNAI_CLIENT_ID"], home.values["RUNAI_CLIENT_SECRET"])
    status, made = token(home, {"grantType": "app_token", **dict(zip(names, values, strict=True))})
    assert (status, made["accessToken"].count(".")) == (200, 2)


def test_token_of_the_form_and_of_the_older_path_is_as_good(home: World, runai: Runai) -> None:
    name, secret = home.values["RUNAI_CLIENT_ID"], home.values["RUNAI_CLIENT_SECRET"]
    form = f"grant_type=client_credentials&client_id={name}&client_secret={secret}".encode()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    status, made = post(home, "/api/v2/token", form, kind)
    assert (status, made["token_type"], status_with(home, made["access_token"])) == (200, "Bearer", 200)
    # The SDK's own method sends no body, and so is told what is missing.
    with pytest.raises(RunaiError) as caught:
        runai.data(home, "authentication_and_authorization.tokens.grant_token_v2('client_credentials')")
    assert (caught.value.status, caught.value.data["error"]) == (400, "invalid_request")
    code = """
request = models.AppTokenRequest(id=name, name=name, secret=secret)
result = done(client.authentication_and_authorization.tokens.app_token(request))
"""
    older = runai.run(home, code, name=name, secret=secret)["data"]
    assert status_with(home, older["access_token"]) == 200


def test_payload_of_every_token_is_read_by_standard_base64(home: World, runai: Runai) -> None:
    for _ in range(30):
        _, made = token(home, {"AppId": home.values["RUNAI_CLIENT_ID"],
                               "AppSecret": home.values["RUNAI_CLIENT_SECRET"]})  # fmt: skip
        payload = made["accessToken"].split(".")[1]
        assert json.loads(base64.b64decode(payload + "==", validate=True))["exp"] > 0


def test_old_tokens_and_credentials_stay_good_through_kill_and_restart(tmp_path: Path, runai: Runai) -> None:
    with world(tmp_path, "simulated") as home:
        home.start()
        before, secret = token_of(runai, configuration(home)), home.values["RUNAI_CLIENT_SECRET"]
        home.kill()
        home.start()
        assert home.values["RUNAI_CLIENT_SECRET"] == secret
        assert status_with(home, before) == 200
        (home.data_dir / "credentials.json").unlink()
        assert home.stop() == 0
        home.start()  # a new secret for the same application, and the old one is no good any more
        assert token(home, {"AppId": "homeport", "AppSecret": secret})[0] == 400
        assert status_with(home, before) == 200
        assert (home.data_dir / "token.key").stat().st_mode & 0o777 == 0o600


def test_client_renews_a_token_that_is_about_to_expire(tmp_path: Path, runai: Runai) -> None:
    with world(tmp_path, "simulated") as home:
        home.start(HOMEPORT_RUNAI_TOKEN_LIFETIME_S="30")  # below the client's margin: before every call
        code = """
before = api_client._token
listed = done(client.organizations.clusters.get_clusters()).data
result = [before != api_client._token, len(listed)]
"""
        assert runai.run(home, code) == [True, 1]


def test_secrets_and_tokens_are_in_no_log(tmp_path: Path, runai: Runai) -> None:
    with world(tmp_path, "simulated") as home:
        home.start(LOGLEVEL="DEBUG")
        secret, bearer = home.values["RUNAI_CLIENT_SECRET"], token_of(runai, configuration(home))
        with pytest.raises(RunaiError):
            runai.run_with(configuration(home, client_secret="not-the-secret"), "result = 1")
        log = (tmp_path / "server.log").read_text()
        assert "DEBUG" in log
        for hidden in (secret, bearer, bearer.split(".")[2], "not-the-secret"):
            assert hidden not in log


def test_env_prints_what_the_client_needs(home: World, runai: Runai) -> None:
    argv = [sys.executable, "-m", "homeport", "env", "--data-dir", str(home.data_dir), "--format", "json"]
    values = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert values["RUNAI_BASE_URL"].count("/") == 2  # no path: the client puts its own behind it
    settings = {
        "client_id": values["RUNAI_CLIENT_ID"], "client_secret": values["RUNAI_CLIENT_SECRET"],
        "runai_base_url": values["RUNAI_BASE_URL"] + "//",
    }  # fmt: skip
    listed = runai.run_with(settings, "result = done(client.organizations.clusters.get_clusters()).data")
    assert len(listed) == 1


# --- what the clients do to requests


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_of_every_client_are_understood(home: World, runai: Runai, kind: str) -> None:
    """The async one sends a JSON string that holds the JSON."""
    made = runai.run(home, MAKE_PROJECT, kind, name=f"body-{kind}")
    assert (made["status"], made["data"]["name"]) == (201, f"body-{kind}")
    gone = runai.run(
        home, f"result = done(client.{PROJECTS}.delete_project(id))", kind, id=made["data"]["id"]
    )
    assert gone == {"status": 204, "data": None}


@pytest.mark.parametrize("kind", KINDS)
def test_falsy_body_that_arrives_as_none_is_an_empty_one(home: World, runai: Runai, kind: str) -> None:
    """`[]` is not sent at all: as quotas it is no quota."""
    name = f"falsy-{kind}"
    made = runai.run(home, MAKE_PROJECT, kind, name=name)["data"]
    code = f"result = done(client.{PROJECTS}.update_project_resources(id, []))"
    assert runai.run(home, code, kind, id=made["id"]) == {"status": 200, "data": []}


@pytest.mark.parametrize("kind", KINDS)
def test_nulls_of_models_read_from_a_dict_say_nothing(home: World, runai: Runai, kind: str) -> None:
    code = """
cluster = done(client.organizations.clusters.get_clusters()).data[0]["uuid"]
sent = models.ProjectCreationRequest.from_dict({
    "name": name, "clusterId": cluster, "description": None, "schedulingRules": None, "parentId": None,
    "requestedNamespace": None, "defaultNodePools": None, "nodeTypes": None,
    "resources": [{"nodePool": {"id": "1", "name": None}, "priority": None, "memory": None,
                   "gpu": {"deserved": 1, "limit": None, "overQuotaWeight": None}}],
})
assert sent.to_dict()["resources"][0]["gpu"]["limit"] is None and sent.to_dict()["parentId"] is None
result = done(client.organizations.projects.create_project(sent))
"""
    made = runai.run(home, code, kind, name=f"nulls-{kind}")["data"]
    assert (made["parent"]["name"], made["description"]) == ("default", "")
    assert made["resources"][0]["gpu"] == {"deserved": 1, "limit": None, "overQuotaWeight": None}
    assert made["resources"][0]["priority"] == "Medium low"


@pytest.mark.parametrize("kind", KINDS)
def test_commas_in_values_of_a_filter_stay_in_them(home: World, runai: Runai, kind: str) -> None:
    """A list comes as one value with commas; this name has one, too."""
    name = f"Research, {kind}"
    code = """
cluster = done(client.organizations.clusters.get_clusters()).data[0]["uuid"]
made = models.DepartmentCreationRequest(name=name, cluster_id=cluster, resources=[])
done(client.organizations.departments.create_department(made))
filters = [f"name=={name}", f"clusterId=={cluster}"]
listed = done(client.organizations.departments.get_departments(filter_by=filters)).data
result = [d["name"] for d in listed["departments"]]
"""
    assert runai.run(home, code, kind, name=name) == [name]


@pytest.mark.parametrize("kind", KINDS)
def test_lone_enum_member_is_read_as_python_spells_it(home: World, runai: Runai, kind: str) -> None:
    """`telemetryType=OrgUnitTelemetryType.GPU_QUOTA`, `sortBy=ProjectFilterSortFields.NAME`."""
    code = """
kind = models.OrgUnitTelemetryType.GPU_QUOTA
told = done(client.organizations.projects.get_projects_telemetry(telemetry_type=kind)).data
listed = done(client.organizations.projects.get_projects(
    sort_by=models.ProjectFilterSortFields.TOTALGPUQUOTA, sort_order="desc", limit=1)).data
result = [told["type"], listed["projects"][0]["name"]]
"""
    assert runai.run(home, code, kind) == ["GPU_QUOTA", "local"]


def test_underscores_that_became_hyphens_on_the_way_still_find_the_path(home: World, runai: Runai) -> None:
    """The client turns each `_` of a path into `-`; who writes it by hand does not."""
    bearer = {"Authorization": f"Bearer {token_of(runai, configuration(home))}"}
    told = runai.data(home, "authentication_and_authorization.org_unit.get_priorities()")
    for path in ("/api/v1/org-unit/priorities", "/api/v1/org_unit/priorities"):
        request = urllib.request.Request(home.values["RUNAI_BASE_URL"] + path, headers=bearer)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer) == told
    # Ids must come back as they were given out: none has an underscore.
    ids = runai.run(home, """
result = [c["uuid"] for c in done(client.organizations.clusters.get_clusters()).data]
result += [n["id"] for n in done(client.organizations.nodes.get_tenant_nodes()).data["nodes"]]
result += [p["id"] for p in done(client.organizations.node_pools.get_nodepools()).data["nodepools"]]
""")  # fmt: skip
    assert len(ids) == 3
    assert all("_" not in i for i in ids)


def test_shared_scopes_are_one_path_in_both_spellings(home: World, runai: Runai) -> None:
    """Documented as sharedScopes, sent as shared-scopes: one operation, which is not served yet."""
    with pytest.raises(RunaiError) as caught:
        runai.data(home, "datavolumes.datavolumes.get_datavolume_shared_scopes(id)", id="a-b")
    assert (caught.value.status, caught.value.data["details"]) == (501, "not_implemented")
    bearer = {"Authorization": f"Bearer {token_of(runai, configuration(home))}"}
    url = home.values["RUNAI_BASE_URL"] + "/api/v1/datavolumes/a-b/sharedScopes"
    with pytest.raises(urllib.error.HTTPError) as by_hand:
        urllib.request.urlopen(urllib.request.Request(url, headers=bearer), timeout=30)
    assert by_hand.value.code == 501


@pytest.mark.parametrize("kind", KINDS)
def test_naive_times_in_filters_are_utc(home: World, runai: Runai, kind: str) -> None:
    code = """
import datetime
projects = client.organizations.projects
created = done(projects.get_projects(filter_by=["name==local"])).data["projects"][0]["createdAt"]
at = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
second = datetime.timedelta(seconds=1)
def count(*filters):
    return done(projects.count_projects(filter_by=["name==local", *filters])).data["count"]
naive = at.replace(tzinfo=None)
east = (at + second).astimezone(datetime.timezone(datetime.timedelta(hours=5)))
result = [count(f"createdAt>={(naive - second).isoformat()}"),
          count(f"createdAt>={(naive + second).isoformat()}"),
          count(f"createdAt<={east.isoformat()}"), count(f"createdAt=={created}")]
"""
    assert runai.run(home, code, kind) == [1, 0, 1, 1]


def test_slashes_too_many_change_nothing(home: World, runai: Runai) -> None:
    bearer = {"Authorization": f"Bearer {token_of(runai, configuration(home))}"}
    for path in ("/api/v1/clusters/", "//api//v1/clusters", "/api/v1/clusters?"):
        request = urllib.request.Request(home.values["RUNAI_BASE_URL"] + path, headers=bearer)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert len(json.load(answer)) == 1


# --- refusals, as each client raises them


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("call", "name", "status"),
    [
        ("organizations.projects.get_project('99')", "NotFoundException", 404),
        ("organizations.projects.get_projects(filter_by=['nothing==1'])", "BadRequestException", 400),
        ("organizations.projects.delete_project('3')", "ConflictException", 409),
        ("authentication_and_authorization.users.get_users()", "ServiceException", 501),
    ],
)
def test_refusal_is_raised_by_its_status_with_a_body_to_read(
    home: World, runai: Runai, kind: str, call: str, name: str, status: int
) -> None:
    with pytest.raises(RunaiError) as caught:
        runai.data(home, call, kind)
    assert (caught.value.status, caught.value.data["code"]) == (status, status)
    assert str(caught.value).startswith(name)
    assert caught.value.data["message"]


def test_operation_that_is_not_served_is_not_retried_and_is_counted(home: World, runai: Runai) -> None:
    def refused() -> int:
        url = home.values["RUNAI_BASE_URL"] + "/homeport/coverage"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["runai"]["refused"].get("GET /api/v1/users", 0)

    before = refused()
    with pytest.raises(RunaiError) as caught:
        runai.run_with(
            configuration(home, retry_enabled=True),
            "done(client.authentication_and_authorization.users.get_users())",
        )
    assert caught.value.status == 501
    assert refused() == before + 1


def test_server_with_tls_is_trusted_by_what_env_prints(tmp_path: Path, runai: Runai) -> None:
    with world(tmp_path, "simulated") as home:
        home.start(["--tls"])
        bundle = home.values["SSL_CERT_FILE"]
        listed = runai.run_with(
            configuration(home, ssl_ca_cert=bundle),
            "result = done(client.organizations.clusters.get_clusters()).data",
        )
        assert len(listed) == 1
