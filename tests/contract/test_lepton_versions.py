"""leptonai 0.27.3 and 0.26.4, CLI and SDK, against the same workspace as today's client."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sdk import Sdk, SdkError, environment
from tests.world import World, eventually

WAIT = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
ENDS = ("Completed", "Failed", "Stopped", "Archived")
# How each version asks for it; the server must not lose the other's spelling.
PRIVILEGED = {"0.26.4": {"privileged": True}, "0.27.3": {"user_security_context": {"privileged": True}}}
# The connection of api.v0, which these versions still carry.
V0 = """
from leptonai.api.v0 import connection, job, nodegroup, secret, types, workspace
conn = connection.Connection(client.url, client.auth_token)
"""


def together(home: World, *commands: str) -> list[str]:
    """Several calls of `lep` at a time: each spends two seconds on its imports."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda c: home.lep(*c.split()), commands))


def use_cli(home: World, version: str) -> None:
    home.lep_path = str(environment(version) / "bin" / "lep")


def ended(home: World, sdk: Sdk, job: str) -> str:
    return eventually(f"the end of {job}", lambda: (s := sdk.state(home, job)) in ENDS and s)


def test_older_cli_logs_in_its_own_way_and_shows_the_workspace(process_home: World, older_sdk: Sdk) -> None:
    home = process_home
    use_cli(home, older_sdk.version)
    token, url = home.values["LEPTON_WORKSPACE_TOKEN"], home.values["LEPTON_WORKSPACE_URL"]
    assert "Workspace: local" in home.lep("login", "-c", f"local:{token}", "-u", url)
    listed, status, shown = together(home, "workspace list", "workspace status", "node list -d")
    assert ("3650 days left" in listed, url in listed) == (True, True)
    assert "state:       WorkspaceState.Normal" in status
    assert re.search(r"gpu \(cards\) +│ 2\.0 +│ 0\.0", status)
    assert re.search(r"default +│ default +│ 1/1", shown)
    assert "NVIDIA H100-80GB (simulated), Ready, Healthy, Idle" in shown


def test_older_cli_runs_a_job_and_reads_its_log(process_home: World, older_sdk: Sdk) -> None:
    home = process_home
    use_cli(home, older_sdk.version)
    assert "Logged in to your workspace local" in home.login()
    job = home.create("hello", "for i in 1 2 3; do echo line $i; done", "--privileged")
    assert ended(home, older_sdk, job) == "Completed"
    path = home.data_dir.parent / "log.txt"
    live, found, shown, _ = together(
        home,
        f"job log -i {job}",
        f"job list -s comp -u ADMIN -n {job[-4:].upper()} -ng efau",
        "job get -n hello",
        f"log get -j {job} --path {path}",
    )
    assert "line 1\nline 2\nline 3\n" in live
    assert job in found
    spec = json.loads(shown[shown.index("{") : shown.rindex("}") + 1])["spec"]
    assert {k: spec[k] for k in PRIVILEGED[older_sdk.version]} == PRIVILEGED[older_sdk.version]
    assert [line.rpartition("｜")[2] for line in path.read_text().splitlines() if "｜" in line] == [
        "line 1", "line 2", "line 3",
    ]  # fmt: skip
    home.lep("job", "remove", "-n", "hello")
    eventually("Archived", lambda: older_sdk.state(home, job) == "Archived")


def test_wrong_token_and_foreign_workspace_are_told_apart(shared_home: World, any_sdk: Sdk) -> None:
    code = "result = type(client)('local', 'wrong', client.url).info()"
    with pytest.raises(SdkError, match=r"^WorkspaceUnauthorizedError"):
        any_sdk.run(shared_home, code)
    code = "result = type(client)('other', client.auth_token, client.url.replace('local', 'other')).info()"
    with pytest.raises(SdkError, match=r"^WorkspaceNotFoundError"):
        any_sdk.run(shared_home, code)


def test_workspace_tells_each_version_what_it_needs(shared_home: World, any_sdk: Sdk) -> None:
    code = "i = client.info(); result = [i.workspace_name, i.workspace_state.value, client.version(), i]"
    name, state, version, info = any_sdk.run(shared_home, code)
    assert (name, state, len(version)) == ("local", "normal", 3)
    assert info["resource_quota"]["limit"]["accelerator_num"] == 2.0
    features = any_sdk.run(shared_home, "result = client._get('/workspace').json()['features']")
    assert {type(v) for v in features.values()} == {bool}
    code = "result = cli_client.token(), cli_client.get_workspace_id()"
    assert any_sdk.run(shared_home, code) == [shared_home.values["LEPTON_WORKSPACE_TOKEN"], "local"]


def test_both_url_versions_are_the_same_workspace(shared_home: World, any_sdk: Sdk) -> None:
    job = any_sdk.create(shared_home, "one", "true", stopped=True)
    code = """
other = type(client)("local", client.auth_token, client.url.replace("/v2/", "/v1/"))
result = other.url != client.url, job in [j.metadata.id_ for j in other.job.list_all()]
other.job.delete(job)
"""
    assert any_sdk.run(shared_home, code, job=job) == [True, True]


def test_node_group_is_listed_with_its_nodes_shapes_and_volumes(shared_home: World, any_sdk: Sdk) -> None:
    code = """
group = {g.metadata.name: g for g in client.nodegroup.list_all()}["default"]
same = client.nodegroup.get(group.metadata.id_)
nodes = client.nodegroup.list_nodes(group)
idle = cli_client.nodegroup.list_idle_nodes(group)
shapes = cli_client.shapes.list_shapes(node_group=group.metadata.id_)
node, shape = nodes[0], shapes[-1].spec
result = [
    same == group, group.status.ready_nodes, group.status.quota_enabled,
    [(v.name, v.from_.value) for v in group.spec.volumes],
    node.spec.dedicated_node_group, node.spec.resource.gpu.total, node.spec.unschedulable, node.status.status,
    [n.metadata.id_ for n in idle] == [node.metadata.id_],
    (shape.name, shape.accelerator_num, shape.node_group_id),
]
"""
    assert any_sdk.run(shared_home, code) == [
        True, 1, True, [["lepton-shared-fs", "nfs"]], "default", 2.0, False, ["Ready", "Healthy"], True,
        ["gpu.2xh100-sxm", 2.0, "default"],
    ]  # fmt: skip


def test_secret_of_an_older_client_reaches_its_job(process_home: World, older_sdk: Sdk) -> None:
    home = process_home
    code = """
client.secret.create([SecretItem(name="KEY", value="walnut", visibility="private", tags=["a"])])
result = client.secret.list_all()
"""
    assert older_sdk.run(home, code) == [
        {
            "name": "KEY",
            "value": None,
            "tags": ["a"],
            "owner": "admin@homeport.local",
            "visibility": "private",
        }
    ]
    env = [{"name": "GIVEN", "value_from": {"secret_name_ref": "KEY"}}]
    job = older_sdk.create(home, "secret", "echo ${#GIVEN}", envs=env)
    assert ended(home, older_sdk, job) == "Completed"
    assert older_sdk.log(home, job) == "6\n"
    older_sdk.run(home, "client.secret.delete('KEY')")
    assert older_sdk.run(home, "result = client.secret.list_all()") == []
    with pytest.raises(SdkError, match=r"^ClientError: .* 404 "):
        older_sdk.run(home, "client.secret.delete('KEY')")


@pytest.mark.root_on_process
def test_older_sdk_follows_a_job_from_creation_to_archive(home: World, older_sdk: Sdk) -> None:
    mount = {"path": "/team", "mount_path": "/data/team", "from": "node-nfs:lepton-shared-fs"}
    command = f"echo begun | tee /data/team/file; echo $LEPTON_JOB_NAME; {WAIT}"
    sdk, job = older_sdk, older_sdk.create(home, "flow", command, mounts=[mount])
    eventually("Running", lambda: sdk.status(home, job)["ready"] == 1)
    first_chunk = "result = next(client.job.get_log(job, client.job.get_replicas(job)[0]))"
    eventually("its log", lambda: sdk.run(home, first_chunk, job=job).startswith("begun\n"))
    assert (home.data_dir / "volumes" / "lepton-shared-fs" / "team" / "file").read_text() == "begun\n"
    replica = sdk.run(home, "result = client.job.get_replicas(job)[0]", job=job)
    assert (replica["id"], replica["metadata"]["id"]) == (f"{job}-0-{job[-4:]}",) * 2
    node = sdk.run(home, "result = client.nodegroup.list_nodes('default')[0].metadata.id_")
    assert replica["status"]["node"]["id"] == node
    sdk.run(home, "client.job.update(job, {'spec': {'stopped': True}})", job=job)
    eventually("Stopped", lambda: sdk.state(home, job) == "Stopped")
    assert sdk.run(home, "result = client.job.get(job).spec.stopped", job=job) is True
    eventually("no container", lambda: not home.containers())
    sdk.run(home, "client.job.update(job, {'spec': {'stopped': False}})", job=job)
    eventually("Running again", lambda: sdk.state(home, job) == "Running")
    sdk.run(home, "client.job.delete(job)", job=job)
    eventually("Archived", lambda: sdk.state(home, job) == "Archived")
    assert sdk.run(home, "result = client.job.list_all()") == []
    archived = "result = [j.metadata.id_ for j in client.job.list_all(job_query_mode='archive_only')]"
    assert sdk.run(home, archived) == [job]
    assert sdk.log(home, job).startswith(f"begun\n{job}\n")
    events = sdk.run(home, "result = [[e.reason, e.count] for e in client.job.get_events(job)]", job=job)
    assert {r for r, _ in events} >= {
        "Created",
        "Started",
        "StopRequested",
        "StartRequested",
        "DeleteRequested",
    }


def test_list_filters_of_each_version_choose_the_same_jobs(process_home: World, any_sdk: Sdk) -> None:
    home, sdk = process_home, any_sdk
    alpha = sdk.create(home, "alpha", "true", stopped=True, labels={"team": "vision"})
    beta = sdk.create(home, "beta", "true", time_schedule={"start_at": 2**33})

    def ids(**filters: object) -> list[str]:
        found = sdk.run(home, "result = client.job.list_all(**filters)", filters=filters)
        return [j["metadata"]["id"] for j in found]

    both = [beta, alpha]
    assert ids() == both
    assert [ids(status=s) for s in (["await"], ["STOPPED"], ["Stopped", "Awaiting"], ["run"])] == [
        [beta], [alpha], both, [],
    ]  # fmt: skip
    assert [ids(q=q) for q in ("ALPH", beta, beta[-5:].upper(), "nope")] == [[alpha], [beta], [beta], []]
    assert [ids(query=q) for q in ("team=vision", "team!=vision", "!team", "team")] == [
        [alpha], [beta], [beta], [alpha],
    ]  # fmt: skip
    assert [ids(created_by=u) for u in ("admin", ["Admin@Home"], ["nobody", "adm"], ["dmin"])] == [
        both, both, both, [],
    ]  # fmt: skip
    assert [ids(node_groups=g) for g in (["default"], ["FAULT"], ["other"], ["other", "def"])] == [
        both, both, [], both,
    ]  # fmt: skip
    assert [ids(page=n, page_size=1) for n in (1, 2, 3)] == [[beta], [alpha], []]
    assert ids(status=["await"], q="beta", query="!team", page=1, page_size=5) == [beta]
    matching = "result = [j.metadata.id_ for j in client.job.list_matching('team=vision')]"
    assert sdk.run(home, matching) == [alpha]


def test_history_of_no_time_at_all_is_empty(shared_home: World, older_sdk: Sdk) -> None:
    # The CLI of 0.27.3 asks so after a line at the very beginning of one of its time slots.
    home, sdk = shared_home, older_sdk
    job = sdk.create(home, "lines", "echo one; echo two")
    ended(home, sdk, job)
    code = "result = client.log.get_log(name_or_job=job, **ask)['data']['result']"
    found = sdk.run(home, code, job=job, ask={"start": 1, "end": 2**62})
    (at, last), (before, first) = found[0]["values"]
    assert (first, last) == ("one", "two")
    assert sdk.run(home, code, job=job, ask={"start": int(at), "end": int(at)}) == []
    page = sdk.run(home, code, job=job, ask={"start": int(before), "end": int(at)})
    assert [v for stream in page for v in stream["values"]] == [[before, "one"]]
    with pytest.raises(SdkError, match="must not be earlier than start"):
        sdk.run(home, code, job=job, ask={"start": 2, "end": 1})
    sdk.run(home, "client.job.delete(job)", job=job)


def test_api_v0_shares_jobs_and_secrets_with_the_later_generations(
    process_home: World, older_sdk: Sdk
) -> None:
    home = process_home
    code = f"""{V0}
made = job.create_job(conn, types.LeptonJob(metadata={{"id": "old"}}, spec=spec))["metadata"]["id"]
listed = [j["metadata"]["id"] for j in job.list_jobs(conn)]
secret.create_secret(conn, ["OLD"], ["value"]).raise_for_status()
names = secret.list_secret(conn), [s.name for s in client.secret.list_all()]
secret.remove_secret(conn, "OLD").raise_for_status()
result = [made, listed, job.get_job(conn, made)["metadata"]["name"], names, secret.list_secret(conn),
          [g["metadata"]["id"] for g in nodegroup.list_nodegroups(conn)],
          workspace.get_workspace_info(conn)["workspace_name"], client.job.get(made).status.state.value]
job.delete_job(conn, made).raise_for_status()
"""
    spec = {"resource_shape": "cpu.small", "container": {"image": "any:1", "command": ["sleep", "60"]}}
    made, *rest = older_sdk.run(home, code, spec=spec)
    assert rest[:6] == [[made], "old", [["OLD"], ["OLD"]], [], ["default"], "local"]
    assert rest[6] in ("Queueing", "Starting", "Running")
    eventually("Archived", lambda: older_sdk.state(home, made) == "Archived")
