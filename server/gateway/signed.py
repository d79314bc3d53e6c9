"""Tokens that the control plane has signed: read here without its libraries, and without asking it."""

import base64
import binascii
import hashlib
import hmac
import json
from functools import lru_cache

from ..routing import Signed

HEADER = {"alg": "HS256", "typ": "JWT"}
MOST_BYTES = 8192  # of a token


def holder_of(authorization: bytes, signed: Signed, now_ms: int) -> str:
    """
    The client id of who bears an access token of ours that is still good, else "".

    What rests on the word of an identity provider is good for the control plane only, which knows
    whether the provider is still trusted.
    """
    scheme, _, token = authorization.partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or token.count(b".") != 2 or len(token) > MOST_BYTES:
        return ""
    holder, expires_at_s = _read(token, signed.key)
    return holder if now_ms < expires_at_s * 1000 else ""


@lru_cache(256)
def _read(token: bytes, key: str) -> tuple[str, int]:
    """Client id and end (Unix seconds); "" where the token is none of ours."""
    told, _, signature = token.rpartition(b".")
    expected = hmac.new(bytes.fromhex(key), told, hashlib.sha256).digest()
    head, _, payload = told.partition(b".")
    try:
        if not hmac.compare_digest(_decoded(signature), expected) or json.loads(_decoded(head)) != HEADER:
            return "", 0
        claims = json.loads(_decoded(payload))
        if claims["typ"] != "access" or claims.get("via"):
            return "", 0
        return str(claims["azp"]), int(claims["exp"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        return "", 0


def _decoded(part: bytes) -> bytes:
    """Of base64url without its padding."""
    return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
