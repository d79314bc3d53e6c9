"""Ingresses from the real clients: made, shared out, reached by Host, removed."""

import json
import re
import urllib.error
import urllib.request
from collections import Counter

import pytest

from tests.contract.test_lepton_endpoints import create, free_port, serve, state, status
from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

TYPES = "types = importlib.import_module(f'leptonai.api.{generation}.types.ingress')\n"
IMPORT = f"import importlib\n{TYPES}"


def ask(home: World, sdk: Sdk, name: str, host: str) -> tuple[int, str]:
    """Of the gateway, as somebody whose DNS has the host here. `name`: an endpoint, for the address."""
    address = status(home, sdk, name)["endpoint"]["external_endpoint"].split("/e/")[0]
    request = urllib.request.Request(f"{address}/", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def shown(home: World, domain: str) -> dict[str, object]:
    out = home.lep("ingress", "get", "-n", domain)
    return json.loads(out[out.index("{") :])


def test_domain_from_the_command_line_is_listed_with_what_it_is_and_goes(process_home: World) -> None:
    home = process_home
    home.login()
    home.lep("ingress", "create", "-d", "Api.Example.com")
    listed = home.lep("ingress", "list")
    assert "api.example.com" in listed
    told = " ".join(re.sub(r"[│\n]", " ", listed).split())
    assert "answers at http://127.0.0.1" in told
    assert "--tls" in told
    assert "api.example.com" in home.lep("ingress", "list", "--status", "active", "-q", "EXAMPLE")
    assert "No ingress" in home.lep("ingress", "list", "--status", "pending")
    got = shown(home, "api.example.com")
    assert got["spec"] == {"domain_name": "api.example.com"}
    assert "conflict" in home.lep("ingress", "create", "-d", "api.example.com", ok=False)
    assert "spec.domain_name" in home.lep("ingress", "create", "-d", "https://api.example.com", ok=False)
    home.lep("ingress", "delete", "-n", "api.example.com")
    assert "api.example.com" not in home.lep("ingress", "list")
    assert "not_found" in home.lep("ingress", "get", "-n", "api.example.com", ok=False)


def test_shares_are_set_changed_and_removed_from_the_command_line(home: World, sdk: Sdk) -> None:
    home.login()
    for name in ("stable", "canary"):
        port = free_port()
        create(home, sdk, name, port, serve(port))
    for name in ("stable", "canary"):
        eventually("Ready", lambda name=name: state(home, sdk, name) == "Ready")
    home.lep("ingress", "create", "-d", "shop.example")
    assert ask(home, sdk, "stable", "shop.example")[0] in (404, 503)
    home.lep("ingress", "add-endpoint", "-n", "shop.example", "-e", "stable")
    eventually("it answers", lambda: ask(home, sdk, "stable", "shop.example") == (200, "hello from stable"))
    home.lep("ingress", "add-endpoint", "-n", "shop.example", "-e", "canary", "-w", "25")

    def answers(count: int) -> Counter[str]:
        return Counter(ask(home, sdk, "stable", "shop.example:8788")[1] for _ in range(count))

    eventually("both answer", lambda: len(answers(5)) == 2)
    assert answers(20) == {"hello from stable": 16, "hello from canary": 4}
    home.lep("ingress", "update-endpoint", "-n", "shop.example", "-e", "stable", "-w", "0")
    eventually("all of it", lambda: answers(4) == {"hello from canary": 4})
    home.lep("ingress", "set-endpoints", "-n", "shop.example", "-e", "stable:50", "-e", "canary:50")
    eventually("half and half", lambda: answers(10) == {"hello from stable": 5, "hello from canary": 5})
    home.lep("endpoint", "remove", "-n", "canary")
    eventually("its share goes over", lambda: answers(6) == {"hello from stable": 6})
    home.lep("ingress", "update-endpoint", "-n", "shop.example", "-e", "stable", "-w", "60")
    home.lep("ingress", "remove-endpoint", "-n", "shop.example", "-e", "canary")
    assert [e["deployment"] for e in shown(home, "shop.example")["spec"]["endpoints"]] == ["stable"]
    none = home.lep("ingress", "add-endpoint", "-n", "shop.example", "-e", "nowhere", ok=False)
    assert "spec.endpoints[1].deployment" in none
    assert ask(home, sdk, "stable", "local-stable.localhost") == (200, "hello from stable")
    home.lep("ingress", "delete", "-n", "shop.example")
    eventually("it is gone", lambda: ask(home, sdk, "stable", "shop.example")[0] == 404)


def test_each_sdk_adds_and_removes_an_endpoint(process_home: World, sdk: Sdk, any_sdk: Sdk) -> None:
    home = process_home
    create(home, sdk, "a", free_port(), "sleep 600")
    create(home, sdk, "b", free_port(), "sleep 600")
    code = IMPORT + (
        "made = types.LeptonIngress(metadata=Metadata(), spec=types.LeptonIngressUserSpec(**spec))\n"
        "client.ingress.create(made)\n"
        "first = client.ingress.get(domain)\n"
        "client.ingress.create_endpoint(first, types.LeptonIngressEndpoint(**more))\n"
        "both = client.ingress.get(domain)\n"
        "try:\n"
        "    one = client.ingress.delete_endpoint(domain, 'a')\n"
        "except AttributeError:\n"  # 0.26.4 asks by a doubled path, and takes the answer for another thing
        "    one = client.ingress.get(domain)\n"
        "listed = client.ingress.list_all()\n"
        "client.ingress.delete(domain)\n"
        "result = [first, both, one, len(listed), len(client.ingress.list_all())]\n"
    )
    spec = {
        "domain_name": "sdk.example",
        "endpoints": [{"deployment": "a", "weight": 3}],
        "retelimit_config": {"workspace_tier_ratelimiter": {}},
        "auth_config": {"ip_allowlist": ["10.0.0.0/8"]},
        "locality": {"region": "here"},
    }
    more = {"deployment": "b", "weight": 1, "load_balance_config": {"maglev": {}}}
    first, both, one, *counts = any_sdk.run(home, code, domain="sdk.example", spec=spec, more=more)
    kept = {k: v for k, v in first["spec"].items() if v is not None}
    kept["endpoints"] = [{k: v for k, v in e.items() if v is not None} for e in kept["endpoints"]]
    kept["auth_config"] = {k: v for k, v in kept["auth_config"].items() if v is not None}
    assert kept == {k: v for k, v in spec.items() if k in first["spec"]}
    assert "auth_config" in kept
    assert [(e["deployment"], e["weight"]) for e in both["spec"]["endpoints"]] == [("a", 3), ("b", 1)]
    if any_sdk.version != "0.26.4":  # which does not know the field
        assert both["spec"]["endpoints"][1]["load_balance_config"]["maglev"] is not None
    assert [e["deployment"] for e in one["spec"]["endpoints"]] == ["b"]
    assert counts == [1, 0]


def test_limit_of_a_domain_is_kept_and_told(process_home: World, sdk: Sdk) -> None:
    home = process_home
    home.stop()
    home.start(HOMEPORT_INGRESS_RPM="6")
    port = free_port()
    create(home, sdk, "a", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "a") == "Ready")
    code = IMPORT + (
        "made = types.LeptonIngress(metadata=Metadata(), spec=types.LeptonIngressUserSpec(**spec))\n"
        "client.ingress.create(made)\n"
    )
    spec = {
        "domain_name": "few.example",
        "endpoints": [{"deployment": "a", "weight": 1}],
        "retelimit_config": {"workspace_tier_ratelimiter": {}},
    }
    sdk.run(home, code, spec=spec)
    eventually("it answers", lambda: ask(home, sdk, "a", "few.example")[0] in (200, 429))
    assert [ask(home, sdk, "a", "few.example")[0] for _ in range(3)] == [429] * 3
    assert ask(home, sdk, "a", "local-a.localhost")[0] == 200


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"domain_name": "10.1.2.3"}, "spec.domain_name"),
        ({"domain_name": "*.example.com"}, "wildcard"),
        ({"domain_name": "local-a.localhost"}, "Homeport itself"),
        ({"domain_name": "a.example", "endpoints": [{"deployment": "none"}]}, r"endpoints\[0\].deployment"),
        ({"domain_name": "a.example", "endpoints": [{"deployment": "x", "weight": -1}]}, "weight"),
        (
            {"domain_name": "a.example", "traffic_shadowing_config": {"percentage": 10}},
            "not_implemented",
        ),
        ({"domain_name": "a.example", "auth_config": {"ip_allowlist": ["nonsense"]}}, "ip_allowlist"),
    ],
)
def test_what_cannot_be_served_is_refused_by_field(
    shared_home: World, sdk: Sdk, spec: dict[str, object], says: str
) -> None:
    code = IMPORT + (
        "made = types.LeptonIngress(metadata=Metadata(), spec=types.LeptonIngressUserSpec(**spec))\n"
        "client.ingress.create(made)\n"
    )
    with pytest.raises(SdkError, match=says):
        sdk.run(shared_home, code, spec=spec)
