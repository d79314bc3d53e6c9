"""Ingresses: which domains, which shares, which routes come of them; buckets and guesses."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.server.domain.ingresses import Ingress, IngressShare, check_shares, checked_domain
from homeport.server.errors import Invalid
from homeport.server.gateway.rates import GUESSES, Bucket, Guesses
from homeport.server.reconcile.ingress_routes import with_hosts
from homeport.server.routing import Balancing, Route, RouteTable, Share, hosts_of


def ingress(domain: str = "api.example.com", *shares: IngressShare, **more: Any) -> Ingress:
    made = {"workspace": "ws", "owner": "me", "created_at_ms": 1, "modified_at_ms": 1, "modified_by": "me"}
    return Ingress(domain, shares=shares, **(made | more))


def routes(*names: str, workspace: str = "ws") -> dict[str, Route]:
    return {f"{workspace}/{name}": Route(workspace, name) for name in names}


@pytest.mark.parametrize(
    ("text", "kept"),
    [("api.example.com", "api.example.com"), (" API.Example.COM. ", "api.example.com"),
     ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example")],
)  # fmt: skip
def test_domain_is_kept_in_lower_case(text: str, kept: str) -> None:
    assert checked_domain(text) == kept


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no domain name"), ("http://a.example", "without scheme"), ("a.example:80", "without scheme"),
        ("a.example/x", "without scheme"), ("a b.example", "is no domain name"), ("-a.example", "no domain"),
        ("a..example", "is no domain name"), ("x" * 64 + ".example", "is no domain name"),
        ("a." * 130 + "example", "is no domain name"), ("example", "in full"), ("*.example.com", "wildcard"),
        ("10.0.0.1", "is an address"), ("::1", "is an address"), ("[::1]", "is an address"),
        ("2130706433", "is an address"), ("127.1", "is an address"), ("münchen.example", "xn--"),
        ("local-web.localhost", "belongs to Homeport"), ("localhost", "in full"),
        ("ws-e.vendor.example", "belongs to Homeport"), ("gpu.lan", "a name of this server"),
    ],
)  # fmt: skip
def test_domain_that_no_host_could_match_is_refused(text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as refused:
        checked_domain(text, {"GPU.lan"}, ("localhost", "vendor.example"))
    assert refused.value.field == "spec.domain_name"


@pytest.mark.parametrize(
    ("shares", "before", "field"),
    [
        ((), (), None),
        ((IngressShare("a", 0), IngressShare("b", 1)), (), None),
        ((IngressShare("gone", 1),), ("gone",), None),
        ((IngressShare("gone", 1),), (), "spec.endpoints[0].deployment"),
        ((IngressShare("a", 1), IngressShare("a", 2)), (), "spec.endpoints[1].deployment"),
        ((IngressShare("a", 0), IngressShare("b", 0)), (), "spec.endpoints"),
    ],
)
def test_shares(shares: tuple[IngressShare, ...], before: tuple[str, ...], field: str | None) -> None:
    if field is None:
        check_shares(shares, {"a", "b"}, before)
        return
    with pytest.raises(Invalid) as refused:
        check_shares(shares, {"a", "b"}, before)
    assert refused.value.field == field


def test_removed_endpoint_leaves_its_share_to_the_others() -> None:
    of = ingress("d.example", IngressShare("a", 80), IngressShare("gone", 20), IngressShare("b", 0))
    found = with_hosts(routes("a", "b"), [of], {}, 60)["ws/@d.example"]
    assert found.shares == (Share("ws/a", 80),)
    assert found.is_ingress
    assert found.hosts == ("d.example",)


def test_endpoint_answers_at_its_own_names() -> None:
    found = with_hosts(routes("web", workspace="local"), [], {}, 60)["local/web"]
    assert found.hosts == ("local-web.localhost", "local-web.xenon.lepton.run")


def test_ingress_rules_become_the_routes() -> None:
    of = ingress(
        "d.example", IngressShare("a", 1, "maglev"), is_rate_limited=True, needs_workspace_token=True,
        addresses=("10.0.0.0/8",),
    )  # fmt: skip
    found = with_hosts(routes("a"), [of], {"ws": frozenset({"hash"})}, 90)["ws/@d.example"]
    assert found.requests_per_minute == 90
    assert found.access.tokens == frozenset({"hash"})
    assert found.access.networks == ("10.0.0.0/8",)
    assert found.shares == (Share("ws/a", 1, Balancing.MAGLEV),)
    assert Route.from_json(found.to_json()) == found


def test_names_that_clash_never_keep_the_table_from_the_gateway() -> None:
    """`a-b` with `c`, and `a` with `b-c`: refused at creation, harmless all the same."""
    both = routes("c", workspace="a-b") | routes("b-c", workspace="a")
    assert hosts_of("a-b", "c") == hosts_of("a", "b-c")
    found = with_hosts(both, [ingress("a-b-c.localhost")], {}, 60)
    assert len(RouteTable(found.values()).routes()) == 3
    assert found["a/b-c"].hosts == ()


names = st.sampled_from(["a", "b", "c", "a-b", "b-c", "a-b-c"])


@given(st.lists(st.tuples(names, names), max_size=8), st.lists(names, max_size=3))
def test_every_table_is_one_that_the_gateway_takes(pairs: list[tuple[str, str]], domains: list[str]) -> None:
    mine = {f"{ws}/{e}": Route(ws, e) for ws, e in pairs}
    ingresses = [ingress(f"{d}.example") for d in dict.fromkeys(domains)]
    found = with_hosts(mine, ingresses, {}, 60)
    assert len(RouteTable(found.values()).routes()) == len(mine) + len(ingresses)
    assert with_hosts(mine, ingresses, {}, 60) == found


def test_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(per_s=2, most=3, now_s=100)
    assert [bucket.take(100) for _ in range(4)] == [0, 0, 0, 0.5]
    assert [bucket.take(100.5) for _ in range(2)] == [0, 0.5]
    assert [bucket.take(1000) for _ in range(4)] == [0, 0, 0, 0.5]


def test_guesser_waits_and_a_token_that_was_right_goes_on() -> None:
    guesses = Guesses()
    guesses.was_right("10.0.0.1", "good", 0)
    for _ in range(GUESSES):
        assert guesses.pause_s("10.0.0.1", 0) == 0
        guesses.was_wrong("10.0.0.1", 0)
    assert guesses.pause_s("10.0.0.1", 0) == 1
    assert guesses.is_known("10.0.0.1", "good")
    assert not guesses.is_known("10.0.0.1", "other")
    assert not guesses.is_known("10.0.0.2", "good")
    assert guesses.pause_s("10.0.0.2", 0) == 0
    assert guesses.pause_s("10.0.0.1", 1) == 0


def test_guesser_with_a_whole_ipv6_network_is_one_client() -> None:
    guesses = Guesses()
    for n in range(GUESSES):
        guesses.was_wrong(f"2001:db8::{n:x}", 0)
    assert guesses.pause_s("2001:db8::ffff", 0) > 0
    assert guesses.pause_s("2001:db8:0:1::1", 0) == 0


def test_what_is_kept_of_guessers_is_bounded() -> None:
    guesses = Guesses()
    for n in range(10_000):
        guesses.was_wrong(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0)
    for n in range(1000):
        guesses.was_right("10.0.0.1", str(n), 0)
    assert not guesses.is_known("10.0.0.1", "0")
    assert guesses.is_known("10.0.0.1", "999")
