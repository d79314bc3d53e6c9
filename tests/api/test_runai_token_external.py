"""Tokens of identity providers that the admin trusts: which are taken, and what they give."""

import base64
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from homeport.runtime.clock import VirtualClock
from tests.providers import AUDIENCE, FILE, ISSUER, IdentityProvider, replace, trust

from .home import Api
from .test_runai_frame import CLUSTERS, TOKEN, get

Play = Callable[..., None]
LIFETIME_S = 600


def clock(api: Api) -> VirtualClock:
    assert isinstance(api.at.clock, VirtualClock)
    return api.at.clock


def now_s(api: Api) -> float:
    return clock(api).now_ms() / 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data directory of the server that `play` starts."""
    return tmp_path / "data"


async def ask(api: Api, token: str) -> httpx.Response:
    return await api.anybody.post(
        TOKEN, json={"grantType": "external_token_exchange", "externalToken": token}
    )


async def refused(api: Api, token: str, says: str) -> None:
    answer = await ask(api, token)
    assert (answer.status_code, answer.json()["details"]) == (400, "invalid_grant"), answer.text
    assert says in answer.json()["message"], answer.text
    assert token not in answer.text


def pem(provider: IdentityProvider) -> bytes:
    return provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


async def status(api: Api, token: str) -> int:
    return (await get(api, CLUSTERS, token)).status_code


@pytest.mark.parametrize("kind", ["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS512", "PS256"])
def test_token_of_a_trusted_provider_gives_one_of_the_application_it_stands_for(
    play: Play, folder: Path, kind: str
) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider(kind)
        trust(folder, provider.jwk())
        for aud in (AUDIENCE, ["account", AUDIENCE]):
            answer = await ask(api, provider.sign(now_s(api), aud=aud))
            assert answer.status_code == 200, answer.text
            told = jwt.decode(answer.json()["accessToken"], options={"verify_signature": False})
            assert (told["azp"], told["iss"]) == ("homeport", "homeport")
            payload = answer.json()["accessToken"].split(".")[1]
            assert json.loads(base64.b64decode(payload + "=="))["exp"] == told["exp"]  # as the client does it
            assert not set("-_") & set(payload)
            assert await status(api, answer.json()["accessToken"]) == 200
        # What the provider has signed opens nothing itself.
        assert await status(api, provider.sign(now_s(api))) == 401

    play(scenario, runai_token_lifetime_s=LIFETIME_S)


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("another issuer", {"iss": "https://evil.example"}, "issuer"),
    ("no issuer", {"iss": None}, "issuer"),
    ("issuer that is a list", {"iss": [ISSUER]}, "no JSON web token|issuer"),
    ("another audience", {"aud": "another"}, "audience"),
    ("no audience", {"aud": None}, "`aud`"),
    ("no end", {"exp": None}, "`exp`"),
    ("end that is no time", {"exp": "soon"}, "`exp`"),
    ("end that is true", {"exp": True}, "`exp`"),
    ("unknown subject", {"sub": "eve"}, "stands for no application"),
    ("subject that is an application's name", {"sub": "homeport"}, "stands for no application"),
    ("no subject", {"sub": None}, "`sub`"),
]


@pytest.mark.parametrize(("claims", "says"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_signed_token_with_wrong_claims_is_refused_in_words(
    play: Play, folder: Path, claims: dict[str, Any], says: str
) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider()
        trust(folder, provider.jwk())
        try:
            token = provider.sign(now_s(api), **claims)
        except TypeError:  # this library does not sign such claims
            body = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", **claims}).encode()
            token = jwt.api_jws.encode(body, provider.key, "ES256")
        answer = await ask(api, token)
        assert (answer.status_code, answer.json()["details"]) == (400, "invalid_grant"), answer.text
        assert any(part in answer.json()["message"] for part in says.split("|")), answer.text
        assert token not in answer.text

    play(scenario)


def test_times_of_a_token_are_judged_by_the_servers_clock(play: Play, folder: Path) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider()
        trust(folder, provider.jwk())
        token, at = provider.sign(now_s(api)), now_s(api)
        assert (await ask(api, provider.sign(at + 30))).status_code == 200  # clocks differ a little
        await refused(api, provider.sign(at + 90), "not good yet")
        await refused(api, provider.sign(at, nbf=int(at) + 90), "not good yet")
        clock(api).advance(299)
        assert (await ask(api, token)).status_code == 200
        clock(api).advance(1)
        await refused(api, token, "expired")

    play(scenario)


def test_what_no_key_of_the_provider_has_signed_is_refused(play: Play, folder: Path) -> None:
    async def scenario(api: Api) -> None:
        provider, thief = IdentityProvider("RS256"), IdentityProvider("RS256")
        trust(folder, provider.jwk())
        at, good = now_s(api), provider.sign(now_s(api))
        told = jwt.decode(good, options={"verify_signature": False})
        head, payload, signature = good.split(".")
        await refused(api, thief.sign(at), "none of this provider's keys")
        await refused(api, thief.sign(at, header={"jwk": thief.jwk()}), "none of this provider's keys")
        other = thief.sign(at, sub="eve").split(".")[1]
        await refused(api, f"{head}.{other}.{signature}", "none of this provider's keys")
        await refused(api, f"{head}.{payload}.", "none of this provider's keys")
        await refused(api, provider.sign(at, header={"kid": "k2"}), "none of this provider's keys")
        await refused(api, provider.sign(at, header={"crit": ["x"], "x": 1}), "it")
        await refused(api, jwt.encode(told, None, "none"), "not signed with one of")
        # The public key is no shared secret: by hand, since no library signs with one.
        body = jwt.encode(told, "k" * 32, "HS256", headers={"kid": "k1"}).rpartition(".")[0]
        for secret in (pem(provider), json.dumps(provider.jwk()).encode()):
            digest = hmac.digest(secret, body.encode(), "sha256")
            mac = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            await refused(api, f"{body}.{mac}", "not signed with one of")
        for odd in ("a.b.c", "nonsense", "." * 40, good * 20):
            await refused(api, odd, "it is ")
        assert (await ask(api, good)).status_code == 200

    play(scenario)


def test_header_that_names_no_algorithm_is_refused(play: Play, folder: Path) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider()
        trust(folder, provider.jwk())
        _, payload, signature = provider.sign(now_s(api)).split(".")
        for header in ({}, {"alg": ["ES256"]}, {"alg": None}, {"alg": "es256"}, [], 3):
            head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
            await refused(api, f"{head}.{payload}.{signature}", "it is ")

    play(scenario)


def test_key_is_used_with_the_algorithm_it_names_only(play: Play, folder: Path) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider("RS256")
        trust(folder, provider.jwk(alg="PS256"))
        await refused(api, provider.sign(now_s(api)), "none of this provider's keys")
        trust(folder, provider.jwk(alg="RS256"), file="again.json")
        assert (await ask(api, provider.sign(now_s(api)))).status_code == 200

    play(scenario)


def test_email_that_the_provider_has_not_verified_is_nobodys(play: Play, folder: Path) -> None:
    async def scenario(api: Api) -> None:
        provider, mail = IdentityProvider(), "ada@example.org"
        trust(folder, provider.jwk(), claim="email", subjects={mail: "homeport"})
        at = now_s(api)
        assert (await ask(api, provider.sign(at, email=mail, email_verified=True))).status_code == 200
        await refused(api, provider.sign(at, email=mail, email_verified=False), "not been verified")
        await refused(api, provider.sign(at), "`email`")

    play(scenario)


def test_subject_of_an_application_that_is_not_there_is_told(play: Play, folder: Path) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider()
        trust(folder, provider.jwk(), subjects={"ada": "gone"})
        await refused(api, provider.sign(now_s(api)), "does not exist")

    play(scenario)


def test_tokens_of_a_provider_are_renewed_until_it_has_to_be_asked_again(play: Play, folder: Path) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider()
        trust(folder, provider.jwk())
        made = (await ask(api, provider.sign(now_s(api)))).json()
        assert made["expiresIn"] == LIFETIME_S

        async def renew() -> httpx.Response:
            body = {"grantType": "refresh_token", "refreshToken": made["refreshToken"]}
            return await api.anybody.post(TOKEN, json=body)

        clock(api).advance(900)
        made = (await renew()).json()
        assert (made["expiresIn"], await status(api, made["accessToken"])) == (300, 200)
        clock(api).advance(299)
        made = (await renew()).json()
        assert made["expiresIn"] == 1
        clock(api).advance(1)
        assert (await renew()).status_code == 400
        assert await status(api, made["accessToken"]) == 401

    play(scenario, runai_token_lifetime_s=LIFETIME_S)


@pytest.mark.parametrize("change", ["removed", "subject", "application", "issuer", "broken"])
def test_tokens_end_when_their_subject_is_trusted_no_more(play: Play, folder: Path, change: str) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider()
        trust(folder, provider.jwk())
        made = (await ask(api, provider.sign(now_s(api)))).json()
        body = {"grantType": "exchange_token", "code": made["accessToken"]}
        handed_on = (await api.anybody.post(TOKEN, json=body)).json()
        match change:
            case "removed":
                (folder / FILE).unlink()
            case "subject":
                trust(folder, provider.jwk(), subjects={"bob": "homeport"})
            case "application":
                trust(folder, provider.jwk(), subjects={"ada": "another"})
            case "issuer":
                trust(folder, provider.jwk(), issuer="https://other.example")
            case _:
                replace(folder / FILE, "{")
        for token in (made["accessToken"], handed_on["accessToken"]):
            assert await status(api, token) == 401
        renewal = {"grantType": "refresh_token", "refreshToken": made["refreshToken"]}
        assert (await api.anybody.post(TOKEN, json=renewal)).status_code == 400
        trust(folder, provider.jwk())  # back again, as after a slip of the editor's
        assert await status(api, made["accessToken"]) == 200

    play(scenario)


def test_keys_that_the_provider_has_changed_are_read_without_a_restart(play: Play, folder: Path) -> None:
    async def scenario(api: Api) -> None:
        old, new = IdentityProvider(), IdentityProvider(kid="k2")
        await refused(api, old.sign(now_s(api)), "no identity provider is trusted")
        keys = trust(folder, old.jwk())
        assert (await ask(api, old.sign(now_s(api)))).status_code == 200
        await refused(api, new.sign(now_s(api)), "none of this provider's keys")
        replace(keys, json.dumps({"keys": [new.jwk()]}))
        assert (await ask(api, new.sign(now_s(api)))).status_code == 200
        await refused(api, old.sign(now_s(api)), "none of this provider's keys")
        keys.unlink()
        await refused(api, new.sign(now_s(api)), "cannot be read")
        replace(keys, json.dumps({"keys": [old.jwk(), {"kty": "RSA", "use": "enc"}]}))
        assert (await ask(api, old.sign(now_s(api)))).status_code == 200

    play(scenario)


@pytest.mark.parametrize(
    ("keys", "entry", "mode", "says"),
    [
        (lambda: [IdentityProvider().jwk(private=True)], {}, 0o600, "keys[0]: is secret"),
        (lambda: [{"kty": "oct", "k": "c2VjcmV0"}], {}, 0o600, "keys[0]: is secret"),
        (lambda: [IdentityProvider("RS256", bits=1024).jwk()], {}, 0o600, "2048 are the least"),
        (lambda: [IdentityProvider().jwk(x="!")], {}, 0o600, "no key that can be read"),
        (lambda: [IdentityProvider().jwk(use="enc")], {}, 0o600, "no key for signatures"),
        (lambda: [IdentityProvider().jwk()], {"audience": ""}, 0o600, "providers.0.audience"),
        (lambda: [IdentityProvider().jwk()], {"audiense": "x"}, 0o600, "providers.0.audiense"),
        (lambda: [IdentityProvider().jwk()], {"jwks": "none.json"}, 0o600, "none.json: cannot be read"),
        (lambda: [IdentityProvider().jwk()], {}, 0o666, "may be written by everybody"),
    ],
)  # fmt: skip
def test_file_that_cannot_be_trusted_trusts_nobody_and_the_log_says_why(
    play: Play,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    keys: Callable[[], list[Any]],
    entry: dict[str, Any],
    mode: int,
    says: str,
) -> None:
    async def scenario(api: Api) -> None:
        trust(folder, *keys(), **entry)
        (folder / FILE).chmod(mode)
        for _ in range(2):
            await refused(api, IdentityProvider().sign(now_s(api)), f"{FILE} of this server cannot be read")
        told = [r.getMessage() for r in caplog.records if "no identity provider is trusted" in r.getMessage()]
        assert len(told) == 1  # not once for each request
        assert says in told[0]

    play(scenario)


def test_key_file_that_is_mended_is_read_though_the_first_look_found_it_broken(
    play: Play, folder: Path
) -> None:
    async def scenario(api: Api) -> None:
        provider = IdentityProvider()
        keys = trust(folder, provider.jwk())
        keys.write_text("{")
        await refused(api, provider.sign(now_s(api)), f"{FILE} of this server cannot be read")
        replace(keys, json.dumps({"keys": [provider.jwk()]}))
        assert (await ask(api, provider.sign(now_s(api)))).status_code == 200

    play(scenario)
