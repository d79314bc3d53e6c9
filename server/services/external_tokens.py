"""
Tokens that an identity provider has signed: whether one is good, and whose it is. Pure: the keys and
the time are given.

Source of the rules: RFC 7519 (claims), RFC 8725 (what not to trust of a token's own header).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SKEW_S = 60  # so far may the provider's clock be ahead of ours
MOST_CHARACTERS = 16_384
# By key type and curve. A secret shared with the provider (HS256) is no proof: each who checks could sign.
ALGORITHMS: Mapping[tuple[str, str], frozenset[str]] = {
    ("RSA", ""): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
SIGNING = frozenset[str]().union(*ALGORITHMS.values())


class NotProven(Exception):
    """No good token of a trusted provider; the text says why, and quotes nothing of the token."""


@dataclass(frozen=True, slots=True)
class Key:
    """
    A public key.

    Args:
        kid: its name; "": it has none, and each token may be its.
        algorithms: those that it may be used with, whatever a token says.
    """

    kid: str
    algorithms: frozenset[str]
    public: Any


@dataclass(frozen=True, slots=True)
class Provider:
    """
    Args:
        issuer, audience: what `iss` has to be, and `aud` or one of its members.
        claim: tells who the bearer is. subjects: its values -> the client id of the application.
    """

    issuer: str
    audience: str
    claim: str
    subjects: Mapping[str, str]
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """`via` stands for the provider and the subject, in characters that every token can hold."""

    client_id: str
    via: str


def via_of(issuer: str, subject: str) -> str:
    return hashlib.sha256(json.dumps([issuer, subject]).encode()).hexdigest()[:32]


def prove(token: str, providers: Sequence[Provider], now_s: float) -> Proof:
    """
    Raises:
        NotProven: the token is not one of these providers', has expired, or its bearer is nobody here.
    """
    header, issuer = _unproven(token)
    provider = next((p for p in providers if p.issuer == issuer), None)
    if provider is None:
        raise NotProven("its issuer (`iss`) is none that is trusted here")
    claims = _verified(token, header, provider)
    _check_times(claims, now_s)
    subject = claims.get(provider.claim)
    if not isinstance(subject, str) or not subject:
        raise NotProven(f"it has no `{provider.claim}`, which is what this provider's bearers are known by")
    if provider.claim == "email" and claims.get("email_verified", True) not in (True, "true"):
        raise NotProven("its `email` has not been verified by the provider")
    client_id = provider.subjects.get(subject)
    if client_id is None:
        raise NotProven(f"its `{provider.claim}` stands for no application here")
    return Proof(client_id, via_of(provider.issuer, subject))


def _unproven(token: str) -> tuple[Mapping[str, Any], Any]:
    """Its header and `iss` as it tells them; nothing of that is true yet."""
    import jwt

    if len(token) > MOST_CHARACTERS:
        raise NotProven(f"it is longer than {MOST_CHARACTERS} characters")
    try:
        header: Mapping[str, Any] = jwt.get_unverified_header(token)
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise NotProven("it is no JSON web token") from None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in SIGNING:
        raise NotProven(f"it is not signed with one of {', '.join(sorted(SIGNING))}")
    if "crit" in header:
        raise NotProven("its header has extensions (`crit`), of which none is known here")
    return header, issuer


def _verified(token: str, header: Mapping[str, Any], provider: Provider) -> dict[str, Any]:
    import jwt

    algorithm, kid = str(header["alg"]), header.get("kid")
    keys = [k for k in provider.keys if algorithm in k.algorithms and (kid is None or k.kid in ("", kid))]
    # Times are judged by our own clock, which tests move away from the machine's.
    options: Any = {
        "verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["iss", "aud", "exp"],
    }  # fmt: skip
    for key in keys:
        try:
            return jwt.decode(
                token, key.public, [algorithm], options, audience=provider.audience, issuer=provider.issuer
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.MissingRequiredClaimError as error:
            raise NotProven(f"it has no `{error.claim}`") from None
        except jwt.InvalidAudienceError:
            raise NotProven("its audience (`aud`) is not the one set for this provider") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise NotProven("it cannot be read as a token of this provider") from None
    raise NotProven("none of this provider's keys has signed it")


def _check_times(claims: Mapping[str, Any], now_s: float) -> None:
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    for name, value in times.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotProven(f"its `{name}` is no time")
    if not times["exp"] > now_s:  # a NaN is in no order, and good for nothing
        raise NotProven("it has expired (`exp`)")
    if any(not times[name] <= now_s + SKEW_S for name in ("nbf", "iat") if name in times):
        raise NotProven("it is not good yet (`nbf`, `iat`); compare the clocks of provider and server")
