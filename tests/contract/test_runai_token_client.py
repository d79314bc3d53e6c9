"""runapy's own token call with each grant it has, and its three clients with what they are given."""

import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.contract.test_runai_client import status_with
from tests.providers import IdentityProvider, trust
from tests.runai import KINDS, Runai, RunaiError, configuration
from tests.world import World, world

GRANT = """
request = models.TokenRequest(**fields)
result = done(client.authentication_and_authorization.tokens.grant_token(request)).data
"""
# As docs/runai.md shows it: the client has no way of its own to be given a token.
WITH_TOKEN = """
class Bearing(kinds[client_kind]):
    def _make_token_request(self):
        return token

settings = dict(configuration, client_id=None, client_secret=None, auto_refresh_token=False)
bearing = RunaiClient(Bearing(Configuration(**settings)))
result = [project["name"] for project in done(bearing.organizations.projects.get_projects()).data["projects"]]
"""


@pytest.fixture(scope="module")
def provider() -> IdentityProvider:
    return IdentityProvider("RS256")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider) -> Generator[World]:
    with world(tmp_path_factory.mktemp("runai"), "simulated") as made:
        made.start()
        trust(made.data_dir, provider.jwk())
        yield made


def grant(home: World, runai: Runai, kind: str = "sync", **fields: str) -> dict[str, Any]:
    return runai.run(home, GRANT, kind, fields=fields)


def fields_of(home: World, runai: Runai, provider: IdentityProvider, grant_type: str) -> dict[str, str]:
    """What that grant needs, by the names that `TokenRequest` has for it."""
    name, secret = home.values["RUNAI_CLIENT_ID"], home.values["RUNAI_CLIENT_SECRET"]
    first = grant(home, runai, grant_type="app_token", app_id=name, app_secret=secret)
    return {
        "app_token": {"app_id": name, "app_secret": secret},
        "client_credentials": {"client_id": name, "client_secret": secret},
        "password": {"username": name, "password": secret},
        "refresh_token": {"refresh_token": first["refreshToken"]},
        "exchange_token": {"code": first["accessToken"], "redirect_uri": "http://127.0.0.1/back"},
        "external_token_exchange": {"external_token": provider.sign(time.time())},
    }[grant_type]


def test_client_has_no_grant_that_is_not_served(home: World, runai: Runai) -> None:
    code = "result = [member.value for member in models.TokenRequestGrantTypeEnum]"
    for member in runai.run(home, code):
        with pytest.raises(RunaiError) as caught:
            grant(home, runai, grant_type=member)
        assert caught.value.status == 400
        assert caught.value.data["details"] in ("invalid_request", "invalid_grant")  # not "unsupported"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "grant_type",
    ["app_token", "client_credentials", "password", "refresh_token", "exchange_token",
     "external_token_exchange"],
)  # fmt: skip
def test_each_client_works_with_the_token_of_each_grant(
    home: World, runai: Runai, provider: IdentityProvider, grant_type: str, kind: str
) -> None:
    made = grant(home, runai, kind, grant_type=grant_type, **fields_of(home, runai, provider, grant_type))
    assert 0 < made["expiresIn"] <= 86400
    told = jwt.decode(made["accessToken"], options={"verify_signature": False})
    assert told["azp"] == home.values["RUNAI_CLIENT_ID"]
    values = {"token": made["accessToken"], "client_kind": kind, "configuration": configuration(home)}
    assert runai.run(home, WITH_TOKEN, **values) == ["local"]
    # The other half of the pair renews it, and opens nothing itself.
    again = grant(home, runai, kind, grant_type="refresh_token", refresh_token=made["refreshToken"])
    assert again["accessToken"] != made["accessToken"]
    with pytest.raises(RunaiError) as caught:
        runai.run(home, WITH_TOKEN, **values | {"token": made["refreshToken"]})
    assert caught.value.status == 401


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"grant_type": "password", "username": "homeport", "password": "wrong"}, "username and password"),
        ({"grant_type": "exchange_token", "code": "a.b.c"}, "code: "),
        ({"grant_type": "external_token_exchange", "external_token": "a.b.c"}, "externalToken: "),
    ],
)
def test_what_is_wrong_with_a_grant_is_told_at_once_in_words(
    home: World, runai: Runai, kind: str, fields: dict[str, str], says: str
) -> None:
    """With the client's retries on: what it would try again it would hide."""
    settings = configuration(home, retry_enabled=True)
    with pytest.raises(RunaiError) as caught:
        runai.run_with(settings, GRANT, kind, fields=fields)
    assert (caught.value.status, caught.value.data["details"]) == (400, "invalid_grant")
    assert says in caught.value.data["message"]


def test_token_of_a_provider_that_is_not_trusted_or_not_its_own_is_refused(
    home: World, runai: Runai, provider: IdentityProvider
) -> None:
    now_s, thief = time.time(), IdentityProvider("RS256")
    bad = {
        thief.sign(now_s): "none of this provider's keys",
        provider.sign(now_s, iss="https://evil.example"): "issuer",
        provider.sign(now_s, aud="another"): "audience",
        provider.sign(now_s - 3600): "expired",
        provider.sign(now_s, sub="eve"): "no application",
        jwt.encode({"iss": "x"}, None, "none"): "not signed",
    }
    for token, says in bad.items():
        with pytest.raises(RunaiError) as caught:
            grant(home, runai, grant_type="external_token_exchange", external_token=token)
        assert (caught.value.status, caught.value.data["details"]) == (400, "invalid_grant")
        assert says in caught.value.data["message"]


def test_tokens_of_every_grant_are_as_good_after_a_kill_and_in_no_log(tmp_path: Path, runai: Runai) -> None:
    provider = IdentityProvider()
    with world(tmp_path, "simulated") as home:
        home.start(LOGLEVEL="DEBUG")
        trust(home.data_dir, provider.jwk())
        hidden: list[str] = []
        made: list[str] = []
        for kind in ("password", "exchange_token", "external_token_exchange"):
            fields = fields_of(home, runai, provider, kind)
            hidden += [value for value in fields.values() if len(value) > 30]
            made.append(grant(home, runai, grant_type=kind, **fields)["accessToken"])
            with pytest.raises(RunaiError):
                grant(home, runai, grant_type=kind, **{name: "not-the-secret" for name in fields})
        home.kill()
        home.start(LOGLEVEL="DEBUG")
        assert [status_with(home, token) for token in made] == [200, 200, 200]
        (home.data_dir / "identity-providers.json").write_text(json.dumps({"providers": []}))
        assert [status_with(home, token) for token in made] == [200, 200, 401]
        log = (tmp_path / "server.log").read_text()
        assert "DEBUG" in log
        for secret in (*hidden, *made, "not-the-secret"):
            assert secret not in log
