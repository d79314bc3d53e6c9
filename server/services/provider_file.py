"""
The file that says which identity providers are trusted, and their keys (JWKS, RFC 7517).

    {"providers": [{"issuer": "https://login.example.org/realms/lab", "audience": "homeport",
                    "jwks": "lab-keys.json", "claim": "email",
                    "subjects": {"ada@example.org": "homeport"}}]}
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import Invalid
from .external_tokens import ALGORITHMS, Key, Provider

LEAST_RSA_BITS = 2048
MOST_BYTES = 1 << 20


class _Provider(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    issuer: str = Field(min_length=1)
    audience: str = Field(min_length=1)
    jwks: str = Field(min_length=1)
    claim: str = Field(default="sub", min_length=1)
    subjects: dict[str, str]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    providers: list[_Provider]


def read_providers(path: Path) -> tuple[tuple[Provider, ...], tuple[Path, ...]]:
    """
    The providers, and the key files that they were read from. A relative `jwks` is beside `path`.

    Raises:
        Invalid: names the file, and the field in it, that cannot be trusted or read.
    """
    try:
        told = _File.model_validate(_load(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise Invalid(str(path), f"{field}: {first['msg']}") from None
    issuers = [p.issuer for p in told.providers]
    if twice := {i for i in issuers if issuers.count(i) > 1}:
        raise Invalid(str(path), f"providers: {sorted(twice)[0]} is there twice; write its subjects together")
    files = tuple(path.parent / p.jwks for p in told.providers)
    providers = tuple(
        Provider(p.issuer, p.audience, p.claim, p.subjects, read_keys(file))
        for p, file in zip(told.providers, files, strict=True)
    )
    return providers, files


def read_keys(path: Path) -> tuple[Key, ...]:
    """
    Those that tokens can be signed with; others, such as those for encryption, are left out.

    Raises:
        Invalid: it is no JWKS, has no such key, or has one that must not be there.
    """
    told = _load(path)
    rows = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        raise Invalid(str(path), "is no JWKS: an object with a list of `keys`")
    keys = [key for at, row in enumerate(rows) if (key := _key(path, at, row)) is not None]
    if not keys:
        kinds = ", ".join(f"{kind} {curve}".strip() for kind, curve in ALGORITHMS)
        raise Invalid(str(path), f"has no key for signatures; such are {kinds}")
    return tuple(keys)


def _key(path: Path, at: int, row: Any) -> Key | None:
    where = f"{path}: keys[{at}]"
    if not isinstance(row, dict):
        raise Invalid(where, "must be an object")
    jwk: Mapping[str, Any] = row
    if jwk.get("kty") == "oct" or "d" in jwk or "k" in jwk:
        raise Invalid(where, "is secret; take the provider's public keys only")
    family = ("RSA", "") if jwk.get("kty") == "RSA" else (str(jwk.get("kty")), str(jwk.get("crv")))
    if jwk.get("use", "sig") != "sig" or family not in ALGORITHMS:
        return None
    algorithms = ALGORITHMS[family]
    if "alg" in jwk:
        algorithms &= {str(jwk["alg"])}
    if not algorithms:
        return None
    return Key(str(jwk.get("kid", "")), algorithms, _public(where, family[0], jwk))


def _public(where: str, kind: str, jwk: Mapping[str, Any]) -> Any:
    import jwt
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    reader = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}[kind]
    try:
        public: Any = reader.from_jwk(dict(jwk))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise Invalid(where, f"is no key that can be read: {error}") from None
    if isinstance(public, RSAPublicKey) and public.key_size < LEAST_RSA_BITS:
        raise Invalid(where, f"is an RSA key of {public.key_size} bits; {LEAST_RSA_BITS} are the least")
    return public


def _load(path: Path) -> Any:
    """Its JSON. A file that everybody may write is nobody's word."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise Invalid(str(path), f"may be written by everybody; chmod o-w {path}")
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise Invalid(str(path), f"is larger than {MOST_BYTES} bytes")
        return json.loads(raw)
    except OSError as error:
        raise Invalid(str(path), f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise Invalid(str(path), "is not JSON that can be read") from None
