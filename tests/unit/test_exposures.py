"""Addresses of exposed ports, who is let in, where they lead, and what readiness makes of a phase."""

from dataclasses import replace
from typing import Any

import pytest

from homeport.runtime.model import Port
from homeport.runtime.probes import HttpGet, Probe, ProbeKind, ProbeResult, ProbeState
from homeport.server.api.runai.translate.phases import phase_of
from homeport.server.domain.expansion import expanded
from homeport.server.domain.exposures import (
    GatewayNames,
    check_free,
    check_host,
    check_path,
    is_loopback,
    read_url,
)
from homeport.server.domain.lifecycle import phase_of as state_of
from homeport.server.domain.serving import Access, Exposure
from homeport.server.domain.workload import Attempt, AttemptState, Workload, WorkloadSpec
from homeport.server.errors import Conflict, Invalid
from homeport.server.reconcile.exposed_routes import Known, Person, exposed_routes, rule_of, with_exposed
from homeport.server.reconcile.host_ports import ports_of, wanted_ports
from homeport.server.routing import Route, Signed
from homeport.server.store.documents import to_doc, workload_from

GATEWAY = GatewayNames("http://127.0.0.1:8788", frozenset({"box.lan"}))
PROBE = Probe(ProbeKind.READINESS, HttpGet(80))
NOTEBOOK = Exposure(8888, path="/local/nb")


def workload(name: str = "nb", **fields: Any) -> Workload:
    own = {k: fields.pop(k) for k in ("is_deleting", "first_attempt", "workspace") if k in fields}
    spec = WorkloadSpec("i", (), "", 1, 1, **fields)
    made = Workload(f"{name}-abcd", "local", name, "job", "me", 0, spec)
    return replace(made, **own)


def attempt(index: int = 0, number: int = 1, readiness: bool | None = None, **fields: Any) -> Attempt:
    result = ProbeResult.SUCCESS if readiness else ProbeResult.FAILURE
    verdict = None if readiness is None else ProbeState("c", result, 0)
    more: dict[str, Any] = {"state": AttemptState.RUNNING, "started_at_ms": 1, "readiness": verdict} | fields
    return Attempt(f"nb-abcd-{index}-abcd", number, "nb-abcd", index, "n", 1, 1, 1, **more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/tools/board", ("", "/tools/board")),
        ("/tools/board/", ("", "/tools/board")),
        ("http://127.0.0.1:8788/tools", ("", "/tools")),
        ("http://box.lan/tools", ("", "/tools")),
        ("localhost/tools", ("", "/tools")),
        ("http://nb.example.com", ("nb.example.com", "")),
        ("NB.example.com:8788/lab", ("nb.example.com", "/lab")),
        ("http://nb.localhost/", ("nb.localhost", "")),
    ],
)
def test_url_is_read_as_host_and_path(text: str, expected: tuple[str, str]) -> None:
    assert read_url(text, "url", GATEWAY) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://nb.example.com", "another scheme"),
        ("http://nb.example.com:99", "another port"),
        ("http://nb.example.com:none", "is no URL"),
        ("http://me:secret@nb.example.com", "more than scheme"),
        ("/tools?x=1", "more than scheme"),
        ("/tools#x", "more than scheme"),
        ("/tools/../e/local", "no path of up to"),
        ("/tools//board", "no path of up to"),
        ("/tools/%41", "no path of up to"),
        ("/1/2/3/4/5/6/7/8/9", "no path of up to"),
        ("/", "has no path"),
        ("http://localhost:8788/", "has no path"),
        ("/e", "is for endpoints"),
        ("/e/local/chat", "is for endpoints"),
        ("http://notebook", "of one part"),
        ("http://a_b.example.com", "no host name"),
        ("http://[::1", "is no URL"),
    ],
)
def test_url_that_cannot_lead_is_refused_by_its_field(text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as refused:
        read_url(text, "spec.url", GATEWAY)
    assert refused.value.field == "spec.url"


@pytest.mark.parametrize("text", ["10.0.0.9/tools", "http://[::1]:8788/tools"])
def test_address_is_one_of_the_gateways_own(text: str) -> None:
    assert read_url(text, "url", GATEWAY) == ("", "/tools")


def test_full_url_bears_the_gateways_scheme_and_port() -> None:
    assert GATEWAY.of(NOTEBOOK) == "http://127.0.0.1:8788/local/nb/"
    assert GATEWAY.of(Exposure(1, "nb.example.com", "/lab")) == "http://nb.example.com:8788/lab/"
    assert GatewayNames("https://[::1]:1").of(NOTEBOOK) == "https://[::1]:1/local/nb/"


@pytest.mark.parametrize(
    ("path", "is_free"),
    [("/tools", True), ("/local/nb", True), ("/local/nb/x", True), ("/local/nbx", False), ("/vision", False)],
)
def test_paths_below_a_project_are_for_its_workloads(path: str, is_free: bool) -> None:
    if is_free:
        check_path(path, "url", "/local/nb", {"local", "vision"})
        return
    with pytest.raises(Invalid, match="are the workloads of project"):
        check_path(path, "url", "/local/nb", {"local", "vision"})


def test_names_that_endpoints_have_are_not_for_others() -> None:
    check_host("nb.localhost", "url", {"local"})
    check_host("local-nb.example.com", "url", {"local"})
    with pytest.raises(Invalid, match="are for endpoints of local"):
        check_host("local-nb.localhost", "url", {"local"})


@pytest.mark.parametrize(
    ("mine", "theirs", "clashes"),
    [
        (Exposure(1, path="/a/b"), Exposure(1, path="/a/b"), True),
        (Exposure(1, path="/a/b/c"), Exposure(1, path="/a/b"), True),
        (Exposure(1, path="/a"), Exposure(1, path="/a/b"), True),
        (Exposure(1, path="/a/bc"), Exposure(1, path="/a/b"), False),
        (Exposure(1, "x.example", "/a"), Exposure(1, "x.example", "/b"), True),
        (Exposure(1, "x.example", "/a"), Exposure(1, path="/a"), False),
    ],
)
def test_address_of_another_workload_is_refused(mine: Exposure, theirs: Exposure, clashes: bool) -> None:
    others = [workload("other", exposures=(theirs,))]
    if not clashes:
        check_free([mine], ["url"], others)
        return
    with pytest.raises(Conflict, match=r"url: .* belongs to workload other of project local"):
        check_free([mine], ["url"], others)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("a.b", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


# --- who


PEOPLE = (
    Person(frozenset({"me@x"}), "local", frozenset({"mine"})),
    Person(frozenset({"you@x"}), "local", frozenset({"yours"})),
    Person(frozenset({"me@x"}), "other", frozenset({"elsewhere"})),
    Person(frozenset({"ci", "Robot"}), None, client_id="ci"),
)


@pytest.mark.parametrize(
    ("access", "is_local", "tokens", "holders"),
    [
        (None, True, None, set[str]()),
        (None, False, {"mine", "yours"}, {"ci"}),
        (Access(takes_workspace_token=True), True, {"mine", "yours"}, {"ci"}),
        (Access(people=("me@x",)), True, {"mine"}, set[str]()),
        (Access(people=("Robot", "you@x")), True, {"yours"}, {"ci"}),
        (Access(people=("nobody",)), True, set[str](), set[str]()),
    ],
)
def test_tokens_that_open_follow_from_who_is_named(
    access: Access | None, is_local: bool, tokens: set[str] | None, holders: set[str]
) -> None:
    rule = rule_of(access, "local", Known(PEOPLE, "ab", is_local))
    assert rule.tokens == tokens
    assert rule.signed == Signed("ab", frozenset(holders))
    assert rule.secrets == {"mine", "yours"}


# --- where


ADDRESSES = {("nb-abcd-0-abcd", 1): "10.0.0.1", ("nb-abcd-1-abcd", 1): "10.0.0.2"}


@pytest.mark.parametrize(
    ("made", "attempts", "address"),
    [
        pytest.param(workload(), [attempt()], "10.0.0.1", id="runs"),
        pytest.param(workload(), [], None, id="waits"),
        pytest.param(workload(), [attempt(state=AttemptState.PLACED)], None, id="starts"),
        pytest.param(workload(), [attempt(number=2)], None, id="without-an-address"),
        pytest.param(workload(first_attempt=2), [attempt()], None, id="of-an-earlier-run"),
        pytest.param(workload(readiness=PROBE), [attempt()], None, id="not-probed-yet"),
        pytest.param(workload(readiness=PROBE), [attempt(readiness=False)], None, id="not-ready"),
        pytest.param(workload(readiness=PROBE), [attempt(readiness=True)], "10.0.0.1", id="ready"),
        pytest.param(workload(), [attempt(1), attempt(0)], "10.0.0.1", id="the-master-of-several"),
        pytest.param(workload(), [attempt(1)], "10.0.0.2", id="the-first-that-runs"),
        pytest.param(workload(), [attempt(evicting_at_ms=5)], None, id="makes-room"),
    ],
)
def test_requests_go_to_the_first_replica_that_takes_them(
    made: Workload, attempts: list[Attempt], address: str | None
) -> None:
    made = replace(made, spec=replace(made.spec, exposures=(NOTEBOOK,)))
    (route,) = exposed_routes([(made, attempts)], ADDRESSES, Known()).values()
    assert (route.key, route.prefix, route.is_exposed_port) == ("local/nb:0", "/local/nb", True)
    assert [(t.host, t.port) for t in route.replicas] == ([(address, 8888)] if address else [])


@pytest.mark.parametrize("how", ["stopped", "deleting"])
def test_nothing_leads_to_what_is_not_wanted(how: str) -> None:
    made = workload(exposures=(NOTEBOOK,), is_stopped=how == "stopped", is_deleting=how == "deleting")
    assert exposed_routes([(made, [attempt()])], ADDRESSES, Known()) == {}


def test_address_that_somebody_has_keeps_no_table_from_the_gateway() -> None:
    endpoint = Route("local", "chat", hosts=("chat.example",))
    made = workload(exposures=(Exposure(1, "chat.example"), Exposure(2, path="/a"), Exposure(3, path="/a")))
    exposed = exposed_routes([(made, [])], {}, Known())
    found = with_exposed({endpoint.key: endpoint}, exposed)
    assert [r.claims for r in found.values()] == [
        ("chat.example",),
        (),
        ("local-nb-2.localhost", "/a"),
        ("local-nb-3.localhost",),
    ]


# --- ports


def test_ports_of_the_host_lead_to_the_first_replica() -> None:
    made = workload(ports=((80, "tcp", 0), (81, "tcp", 40_000)), keeps_host_ports=True, exposures=(NOTEBOOK,))
    assert wanted_ports(made) == {(80, "tcp"): 0, (81, "tcp"): 40_000}
    leased = {(80, "tcp"): 61_000, (81, "tcp"): 40_000}
    assert ports_of(made, attempt(0), leased) == (
        Port(80, "tcp", 61_000),
        Port(81, "tcp", 40_000),
        Port(8888),
    )
    assert ports_of(made, attempt(1), leased) == (Port(80), Port(81), Port(8888))


def test_job_whose_ports_are_not_kept_has_none_leased() -> None:
    made = workload(ports=((80, "tcp", 0),))
    assert wanted_ports(made) == {}
    assert ports_of(made, attempt(1), {}) == (Port(80, "tcp", 0),)


# --- phase


@pytest.mark.parametrize(
    ("attempts", "phase"),
    [
        pytest.param([attempt()], "Initializing", id="not-probed-yet"),
        pytest.param([attempt(readiness=False)], "Initializing", id="never-ready"),
        pytest.param([attempt(readiness=True, ready_at_ms=5)], "Running", id="ready"),
        pytest.param([attempt(readiness=False, ready_at_ms=5)], "Degraded", id="was-ready"),
    ],
)
def test_readiness_gates_running(attempts: list[Attempt], phase: str) -> None:
    made = workload(readiness=PROBE)
    assert phase_of(made, state_of(made, attempts), attempts) == phase


def test_second_pod_that_is_still_coming_degrades_nothing() -> None:
    made = workload(readiness=PROBE, completions=2, parallelism=2)
    attempts = [attempt(0, readiness=True, ready_at_ms=5), attempt(1)]
    assert phase_of(made, state_of(made, attempts), attempts) == "Initializing"


# --- words


def test_named_variables_are_put_into_a_command() -> None:
    words = ["--base=/${A}/$(B)", "$A ${C} $(date) ${A", "$${A}"]
    assert expanded(words, {"A": "x", "B": "y"}) == ("--base=/x/y", "$A ${C} $(date) ${A", "$x")


def test_workload_of_an_older_server_has_no_exposed_ports() -> None:
    made = workload(exposures=(NOTEBOOK,), readiness=PROBE, keeps_host_ports=True)
    assert workload_from(to_doc(made)) == made
    doc = to_doc(workload())
    for gone in ('"exposures":[],', '"readiness":null,', '"keeps_host_ports":false,', '"expands":[],'):
        assert gone in doc
        doc = doc.replace(gone, "", 1)
    assert workload_from(doc) == workload()
