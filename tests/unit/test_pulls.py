"""Image names, what engines say of a failed pull, and what its user is told to do."""

from typing import Any

import pytest

from homeport.runtime.drivers.docker_pull import all_failed, failure_of, pull_failed
from homeport.runtime.errors import ImagePullFailed, PullFailure
from homeport.runtime.images import flaw_of, normal_server, registry_of
from homeport.runtime.model import RegistryLogin
from homeport.server.domain.registries import is_server
from homeport.server.domain.workload import Attempt
from homeport.server.reconcile.launches import failed_launch
from homeport.server.reconcile.pulls import remedy

IMAGE = "reg.example:5000/team/denied-tool:1"


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("python", "docker.io"),
        ("python:3.11", "docker.io"),
        ("alice/tool:1", "docker.io"),
        ("docker.io/library/python", "docker.io"),
        ("index.docker.io/alice/tool", "docker.io"),
        ("ghcr.io/alice/tool:1", "ghcr.io"),
        ("GHCR.io/alice/tool:1", "ghcr.io"),
        ("127.0.0.1:5000/tool@sha256:0123", "127.0.0.1:5000"),
        ("localhost/tool", "localhost"),
        ("alice:5000/tool", "alice:5000"),
        ("tool:1.2", "docker.io"),
    ],
)
def test_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


@pytest.mark.parametrize(
    ("image", "word"),
    [
        # As distribution/reference, reference_test.go has them, but for the last.
        *((good, "") for good in (
            "test_com", "test.com:tag", "test.com:5000", "test.com/repo:tag", "test:5000/repo",
            "test:5000/repo:tag", "lowercase:Uppercase", "a/a/a/a:tag", "sub-dom1.foo.com/bar/baz/quux",
            "sub-dom1.foo.com/bar/baz/quux:some-long-tag", "b.gcr.io/test.example.com/my-app:test",
            "xn--n3h.com/myimage:xn--n3h.com", "foo_bar.com:8080", "foo/foo_bar.com:8080", "192.168.1.1/repo",
            "[2001:db8::1]:5000/repo", "localhost:80/repo", f"test:5000/repo@sha256:{'f' * 64}",
            f"test:5000/repo:tag@sha256:{'f' * 64}", f"sha256:{'a' * 64}", "a__b/c--d", "Host.IO/a",
        )),
        ("", "no path"), (":justtag", "no path"), ("@sha256:" + "f" * 64, "no path"),
        ("repo@sha256:ffff", "no digest"), ("validname@invaliddigest:" + "g" * 64, "no digest"),
        ("Uppercase:tag", "capital letters"), ("test:5000/Uppercase/lowercase:tag", "capital letters"),
        ("a" * 256, "longer than 255"), ("aa/asdf$$^/aa", "no path"), ("a//b", "no path"), ("a/", "no path"),
        ("-test:80", "no path"), ("a:b:c", "no tag"), ("a:" + "t" * 129, "no tag"), ("a:", "no tag"),
        ("-a.io/x", "no HOST"), ("a.io:port/x", "no HOST"), ("https://x/y", "a scheme"), ("a b", "a space"),
        ("a\n", "a space"), ("tool\x7f", "control character"), ("ü", "no path"),
    ],
)  # fmt: skip
def test_name_that_no_image_can_have_is_told_why(image: str, word: str) -> None:
    told = flaw_of(image)
    assert (word in told, bool(told)) == (True, bool(word)), told


@pytest.mark.parametrize(
    "name", ["docker.io", "Docker.IO", "registry-1.docker.io", "https://index.docker.io/v1/"]
)
def test_docker_hub_has_one_name(name: str) -> None:
    assert normal_server(name) == "docker.io"


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("ghcr.io", True), ("127.0.0.1:5000", True), ("[::1]:5000", True), ("registry", True),
        ("", False), ("https://ghcr.io", False), ("ghcr.io/alice", False), ("ghcr io", False),
        ("ghcr.io:0", False), ("ghcr.io:65536", False), ("ghcr.io:", False), ("-a.io", False),
        ("a..b", False), ("alice@ghcr.io", False), ("ghcr.io\n", False),
    ],
)  # fmt: skip
def test_server_is_a_host_with_or_without_a_port(server: str, expected: bool) -> None:
    assert is_server(server) is expected


# As Docker 20.10.24 answered, but for the last five, which are words of newer ones and of Docker Hub.
V2 = "https://reg.example:5000/v2/"


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (f'Head "{V2}team/denied-tool/manifests/1": no basic auth credentials', "denied"),
        ("unauthorized: authentication required", "denied"),
        (f"pull access denied for {IMAGE[:-2]}, repository does not exist or may require 'docker login': "
         "denied: requested access to the resource is denied", "denied"),
        (f"manifest for {IMAGE} not found: manifest unknown: manifest unknown", "missing"),
        (f'Get "{V2}": dial tcp 10.0.0.9:5000: connect: connection refused', "unreachable"),
        (f'Get "{V2}": dial tcp: lookup reg.example on 10.0.0.1:53: no such host', "unreachable"),
        (f'Get "{V2}": net/http: request canceled (Client.Timeout exceeded while awaiting headers)',
         "silent"),
        (f'Get "{V2}": http: server gave HTTP response to HTTPS client', "plain_http"),
        ("invalid reference format: repository name must be lowercase", "invalid"),
        ("no progress in 600 s", "silent"),
        ("no matching manifest for linux/arm64 in the manifest list entries", "missing"),
        (f'Get "{V2}": dial tcp 10.0.0.9:5000: i/o timeout', "silent"),
        (f'Get "{V2}": x509: certificate signed by unknown authority', "untrusted"),
        ("toomanyrequests: You have reached your pull rate limit.", "limited"),
        ("failed to register layer: write /x: no space left on device", "other"),
    ],
)  # fmt: skip
def test_what_a_failed_pull_needs(text: str, failure: str) -> None:
    assert failure_of(IMAGE, text).value == failure


@pytest.mark.parametrize("failure", list(PullFailure))
def test_every_failure_has_its_remedy(failure: PullFailure) -> None:
    told = remedy(ImagePullFailed(IMAGE, "x", failure), ())
    assert (told != "") is (failure is not PullFailure.OTHER)
    if failure in (PullFailure.DENIED, PullFailure.LIMITED):
        assert "homeport registry add NAME --server reg.example:5000 " in told


def test_remedy_names_the_login_that_was_refused_and_those_that_do_not_fit() -> None:
    refused = remedy(ImagePullFailed(IMAGE, "x", PullFailure.DENIED, logins=("mine",)), ("other", "mine"))
    assert "refuses the login 'mine'" in refused
    unfit = remedy(ImagePullFailed(IMAGE, "x", PullFailure.DENIED), ("other", "mine"))
    assert "'other', 'mine' is none" in unfit


@pytest.mark.parametrize("text", ["you sent hush-9f", "you sent YWxpY2U6aHVzaC05Zg==", "YWxpY2U6aHVzaC05Zg"])
def test_answer_that_repeats_the_login_is_not_quoted(text: str) -> None:
    login = RegistryLogin("mine", "reg.example:5000", "alice", "hush-9f")
    error = pull_failed(IMAGE, f"denied: {text}", login)
    assert (error.failure, error.logins) == (PullFailure.DENIED, ("mine",))
    assert "you sent" not in str(error)
    assert "YWxp" not in str(error)
    assert "hush" not in repr(login)


def test_pauses_between_pulls_double_up_to_five_minutes() -> None:
    attempt = Attempt("r", 1, "w", 0, "n", 1, 1, 1)
    error, pauses, now_ms = ImagePullFailed(IMAGE, "gone", PullFailure.MISSING), list[float](), 1_000_000
    for _ in range(7):
        record = failed_launch(attempt, error, now_ms)
        attempt = record.attempt
        pauses.append((attempt.next_try_ms - now_ms) / 1000)
        assert (record.reason, attempt.is_live) == ("ImagePullBackOff", True)
        assert f"next try in {pauses[-1]:g} s" in record.message
    assert pauses == [10, 20, 40, 80, 160, 300, 300]
    assert "has no such image or tag" in record.message


def test_attempt_ends_where_no_image_can_have_that_name() -> None:
    attempt = Attempt("r", 1, "w", 0, "n", 1, 1, 1)
    record = failed_launch(attempt, ImagePullFailed("a::b", "invalid reference", PullFailure.INVALID), 0)
    assert (record.reason, record.attempt.is_live) == ("FailedToStart", False)
    assert "not tried again" in record.message


def refused(name: str, failure: PullFailure = PullFailure.DENIED) -> ImagePullFailed:
    return ImagePullFailed(IMAGE, f"no to {name}", failure, (name,))


def test_several_logins_that_fail_are_told_as_one() -> None:
    assert all_failed([one := refused("a")]) is one
    both = all_failed([refused("a"), refused("b")])
    assert (both.failure, both.logins) == (PullFailure.DENIED, ("a", "b"))
    assert "no to a" in str(both)
    assert "with 'b': denied" in str(both)
    assert "refuses the logins 'a', 'b'" in remedy(both, ("a", "b"))
    let_in = all_failed([refused("a"), refused("b", PullFailure.MISSING)])
    assert (let_in.failure, let_in.logins) == (PullFailure.MISSING, ("b",))
    assert "has no such image or tag" in remedy(let_in, ("a", "b"))


def test_answer_that_repeats_the_password_of_another_login_is_not_quoted() -> None:
    tried = [RegistryLogin(n, "reg.example:5000", n, f"hush-{n}") for n in ("a", "b")]
    assert "hush" not in str(pull_failed(IMAGE, "denied: it was hush-a before", tried[1], tried))


def test_pause_is_bounded_after_thousands_of_failures() -> None:
    many: Any = Attempt("r", 1, "w", 0, "n", 1, 1, 1, failures=5000)
    assert failed_launch(many, ImagePullFailed(IMAGE, "gone"), 0).attempt.next_try_ms == 300_000
