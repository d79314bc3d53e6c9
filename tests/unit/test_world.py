"""Seed files: what they declare, and how a wrong one is refused."""

from pathlib import Path
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Answer, Rule, Span
from homeport.server.errors import Invalid
from homeport.server.settings import load_settings
from homeport.server.world import World, load_world
from homeport.server.world.file import world_of
from homeport.server.world.reading import parse_yaml, read_yaml
from homeport.server.world.rules import parse_rule, to_wire

CLUSTER = """
seed: 7
nodes:
  - name: dgx
    count: 12
    gpus: 8xH100-80GB
    cpu_cores: 224
    memory: 2TiB
    pool: training
    segment_size: 4
    labels: {run.ai/type: dgx}
    taints: [{key: team, value: a}]
  - {name: mig, gpus: "1xH100-80GB:7x1g.10gb"}
pools:
  - {name: training, label: run.ai/type=dgx, min_runtime: 5m}
departments:
  - {name: research, quotas: {training: {gpu: 64}}}
projects:
  - name: team-a
    department: research
    quotas:
      training: {gpu: {deserved: 32, limit: 48, weight: 2}, memory: 4TiB, rank: High}
rules:
  - name: flaky
    match: {kind: job, name: "train-*", attempt: 1}
    pending: 2s
    run: {min: 1m, max: 1h}
    exit_code: 3
  - http: [{path: /health, body: {ok: true}, delay: 50ms}]
"""


def world(text: str) -> World:
    return world_of(parse_yaml(text.encode(), name="world.yaml"), overcommit=2.0)


def test_node_of_a_file_promises_no_more_than_it_has_unless_somebody_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().world_overcommit == 1.0
    monkeypatch.setenv("HOMEPORT_OVERCOMMIT", "16")
    assert load_settings().world_overcommit == 16.0
    text = "nodes: [{name: a}, {name: b, overcommit: 4}]"
    assert [n.overcommit for n in world(text).nodes] == [2.0, 4.0]
    with pytest.raises(Invalid, match=r"nodes\[0\].overcommit"):
        world("nodes: [{name: a, overcommit: 0.5}]")


def test_world_holds_what_its_file_declares() -> None:
    found = world(CLUSTER)
    assert [n.id for n in found.nodes] == [*(f"dgx-{i}" for i in range(12)), "mig"]
    first, mig = found.nodes[0], found.nodes[-1]
    assert (first.cpu_cores, first.memory_mib, first.overcommit) == (224, 2 * 2**20, 2.0)
    assert (first.node_group, first.labels, first.taints) == (
        "training", (("run.ai/type", "dgx"),), (("team", "a", "NoSchedule"),),
    )  # fmt: skip
    assert [n.segment for n in found.nodes[3:5]] == ["dgx-segment-0", "dgx-segment-1"]
    uuids = {g.uuid for n in found.nodes for g in n.gpus}
    assert len(uuids) == 12 * 8 + 7
    assert all(n.is_simulated and all(g.is_simulated for g in n.gpus) for n in found.nodes)
    assert [(g.mig_profile, g.memory_mib) for g in mig.gpus] == [("1g.10gb", 10240)] * 7
    assert len({g.parent_uuid for g in mig.gpus}) == 1
    flaky, web = found.rules
    assert flaky == Rule(
        id="flaky", kind="job", workload="train-*", attempt=1, start_after_s=2.0, run_for_s=Span(60, 3600),
        exit_code=3,
    )  # fmt: skip
    assert (web.id, web.run_for_s) == ("rule-2", None)
    assert web.answers == (
        Answer(path="/health", body='{"ok": true}', content_type="application/json", delay_s=0.05),
    )
    assert (found.seed, found.has_host) == (7, False)


def test_world_without_a_file_is_this_machine_alone() -> None:
    assert load_world(None, overcommit=1.0) == World()
    assert World().has_host


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("rules:\n  - run: 5 parsecs\n", "2, rules[0].run: '5 parsecs' is", id="duration"),
        pytest.param("rules:\n  - run: 5s\n    pendign: 1\n", "3, rules[0].pendign: is not k", id="slip"),
        pytest.param("rules:\n\n  - exit_code: 300\n", "3, rules[0].exit_code: Input", id="range"),
        pytest.param("rules:\n  - {oom: true, exit_code: 1}\n", "2, rules[0]: exit_code and", id="ends"),
        pytest.param("rules:\n  - {crash: SIGFOO}\n", "2, rules[0].crash: 'SIGFOO' is", id="signal"),
        pytest.param("rules:\n  - {run: {min: 2, max: 1}}\n", "2, rules[0].run: max is below min", id="span"),
        pytest.param("rules:\n  - run: {min: 2}\n", "2, rules[0].run.max: is missing", id="half-a-span"),
        pytest.param("nodes:\n - gpus: 8xH100\n", "2, nodes[0].name: is missing", id="missing"),
        pytest.param("nodes:\n - name: a\n   gpus: 8\n", "3, nodes[0].gpus: Input should be", id="type"),
        pytest.param("nodes:\n - name: a\n   gpus: 8x\n", "3, nodes[0].gpus: '8x' is not of", id="gpus"),
        pytest.param("nodes:\n - name: a\n - name: a\n", "3, nodes[1].name: there is", id="twice"),
        pytest.param(
            "nodes:\n - {name: a, count: 2}\n - name: a-1\n", "3, nodes[1].name: there is a", id="of-many"
        ),
        pytest.param("nodes:\n - name: a\n   pool: x\n", "3, nodes[0].pool: no pool named", id="pool"),
        pytest.param(
            "nodes:\n - name: a\n   taints: [{key: k, effect: Never}]\n",
            "3, nodes[0].taints[0].effect: 'Never' is none of NoSchedule", id="effect",
        ),
        pytest.param(
            "projects:\n - name: p\n   quotas:\n     x: {gpu: 1}\n",
            "4, projects[0].quotas.x: no pool named 'x'; there is default", id="quota",
        ),
        pytest.param("nodes: [\n", "2: ", id="syntax"),
        pytest.param("seed: 1\nseed: 2\n", "2: seed is there twice", id="key-twice"),
        pytest.param("- 1\n", "1: should be fields with their values", id="no-mapping"),
        pytest.param(
            "projects:\n - name: p\n   quotas:\n     default: {gpu: 1e30}\n",  # text, says YAML 1.1
            "4, projects[0].quotas.default.gpu: should be fields", id="amount",
        ),
        pytest.param("nodes:\n - {name: a, cpu_cores: 1.0e+300}\n", "2, nodes[0].cpu_cores:", id="cores"),
        pytest.param("nodes:\n - {name: a, memory: 9999999TiB}\n", "2, nodes[0].memory: Input", id="memory"),
        pytest.param("nodes:\n - {name: a, memory: true}\n", "2, nodes[0].memory: True is", id="truth"),
    ],
)  # fmt: skip
def test_wrong_seed_file_is_refused_with_its_line_and_field(text: str, told: str) -> None:
    with pytest.raises(Invalid) as refused:
        world(text)
    assert f"world.yaml, line {told}" in str(refused.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\xffseed: 1\n", b"seed: \x00\n"])
def test_file_that_is_no_text_is_refused_by_its_name(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_bytes(data)
    with pytest.raises(Invalid, match=r"^world\.yaml: is no YAML: "):
        read_yaml(path, flag="--seed")


def test_document_that_repeats_itself_without_end_is_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Invalid, match="more than 200000 values"):
        world("\n".join(lines))


def test_seed_file_that_is_not_there_is_refused_by_its_flag(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"^--seed: cannot read .*: No such file"):
        load_world(tmp_path / "none.yaml", overcommit=1.0)


@pytest.mark.parametrize("name", ["a b", "x" * 64, "-a", "A"])
def test_name_of_a_rule_that_cannot_be_is_refused_in_words(name: str) -> None:
    with pytest.raises(Invalid, match=r"^name: .* must be at most 63 of a-z, 0-9, '\.', '_' and '-'"):
        parse_rule({"name": name})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"run": 1}, "name", id="no-name"),
        pytest.param({"name": "a b"}, "name", id="name"),
        pytest.param({"name": "r", "run": "soon"}, "run", id="duration"),
        pytest.param({"name": "r", "log": [{"at": 1}]}, "log[0].line", id="nested"),
        pytest.param(
            {"name": "r", "http": [{"headers": {"A": "b\r\nC: d"}}]}, "http[0].headers", id="header"
        ),
        pytest.param({"name": "r", "http": [{"content_type": "a\r\nb"}]}, "http[0].content_type", id="type"),
        pytest.param({"name": "r", "match": {"knd": "job"}}, "match.knd", id="slip"),
        pytest.param({"name": "r", "match": {"kind": "jbo"}}, "match.kind", id="kind-that-is-none"),
        pytest.param({"name": "r", "match": {"attempt": True}}, "match.attempt", id="attempt-true"),
        pytest.param({"name": "r", "run": True}, "run", id="run-true"),
        pytest.param({"name": "r", "exit_code": True}, "exit_code", id="exit-code-true"),
    ],
)
def test_wrong_rule_is_refused_with_its_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_rule(body)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("body", "run_for_s", "code"),
    [
        pytest.param({}, 1.0, 0, id="job"),
        pytest.param({"match": {"kind": "endpoint"}}, None, 0, id="endpoint-stays"),
        pytest.param({"match": {"kind": "[ej]*"}}, 1.0, 0, id="pattern-of-kinds"),
        pytest.param({"match": {"kind": "endpoint"}, "exit_code": 1}, 1.0, 1, id="endpoint-that-fails"),
        pytest.param({"run": "forever"}, None, 0, id="forever"),
        pytest.param({"run": "1.5h"}, 5400.0, 0, id="hours"),
        pytest.param({"crash": "SIGSEGV"}, 1.0, 139, id="crash"),
    ],
)
def test_rule_ends_as_it_says_or_as_its_kind_does(body: Any, run_for_s: float | None, code: int) -> None:
    rule = parse_rule({"name": "r", **body})
    assert (rule.run_for_s, rule.exit_code) == (run_for_s, code)


def test_rule_that_is_listed_can_be_added_again() -> None:
    body = {
        "name": "r", "match": {"kind": "job", "attempt": 2}, "pending": {"min": 1, "max": 2},
        "run": "forever",
        "log": [{"at": 1, "line": "hi"}], "http": [{"path": "/x", "headers": {"A": "b"}}], "gpu_percent": 80,
    }  # fmt: skip
    told = to_wire(parse_rule(body), is_added=True)
    again = {k: v for k, v in told.items() if k not in ("added", "exit_code")}
    assert parse_rule(again) == parse_rule(body)
