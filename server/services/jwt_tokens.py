"""
Tokens of Run:ai's API: JSON web tokens (HS256) that outlive a restart.

Source of what a client looks for: runapy 1.224.0, `token_refresher.py`: three parts, of which the
second is read with standard base64 and has to hold `exp`.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ...runtime.clock import Clock
from ..errors import StoreRefused
from ..store.secret_box import make_key_file
from .applications import Application, Applications

ALGORITHM, KEY_BYTES = "HS256", 32
ACCESS, REFRESH = "access", "refresh"
ISSUER = "homeport"
MOST_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Claims:
    """`kind`: ACCESS or REFRESH. `expires_at_s`: Unix time."""

    client_id: str
    kind: str
    expires_at_s: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an application is given; `refresh` is good for twice as long as `access`."""

    access: str
    refresh: str
    lasts: timedelta


class TokenIssuer:
    """
    Makes and reads tokens. A token is good until it expires or its application is gone.

    Args:
        key_file: made at the first use, readable by its owner only. Whoever removes it makes every
            token invalid.
    """

    def __init__(self, applications: Applications, clock: Clock, key_file: Path, lifetime: timedelta) -> None:
        self.applications = applications
        self._clock, self._file, self._lifetime = clock, key_file, lifetime
        self._key = b""
        self._read: dict[str, Claims] = {}

    def issue(self, application: Application) -> Tokens:
        return Tokens(
            self._token(application, ACCESS, self._lifetime),
            self._token(application, REFRESH, self._lifetime * 2),
            self._lifetime,
        )

    def bearer(self, token: str) -> Application | None:
        """Whose access token it is; None: it is none of ours, has expired, or its application is gone."""
        return self._holder(token, ACCESS)

    def refresher(self, token: str) -> Application | None:
        """The same for refresh tokens."""
        return self._holder(token, REFRESH)

    def _holder(self, token: str, kind: str) -> Application | None:
        claims = self._claims(token)
        if claims is None or claims.kind != kind or claims.expires_at_s * 1000 <= self._clock.now_ms():
            return None
        return self.applications.find(claims.client_id)

    def _token(self, application: Application, kind: str, lasts: timedelta) -> str:
        import jwt

        now_s = self._clock.now_ms() // 1000
        claims: dict[str, str | int] = {
            "iss": ISSUER, "sub": application.id, "azp": application.client_id, "typ": kind,
            "iat": now_s, "exp": now_s + int(lasts.total_seconds()),
        }  # fmt: skip
        while True:
            token = jwt.encode(claims | {"jti": secrets.token_hex(8)}, self._secret(), ALGORITHM)
            if is_plain(token):
                return token

    def _claims(self, token: str) -> Claims | None:
        """Of a token that we have signed, whether or not it has expired."""
        if token in self._read:
            return self._read[token]
        if token.count(".") != 2:
            return None
        import jwt

        # Times are ours to judge: jwt would ask the machine's clock, which tests move ours away from.
        options = {"verify_exp": False, "verify_iat": False, "require": ["azp", "typ", "exp"]}
        try:
            told = jwt.decode(token, self._secret(), [ALGORITHM], options, issuer=ISSUER)  # pyright: ignore[reportArgumentType]
            claims = Claims(str(told["azp"]), str(told["typ"]), int(told["exp"]))
        except (jwt.InvalidTokenError, ValueError):
            return None
        if len(self._read) >= MOST_REMEMBERED:
            self._read.clear()
        self._read[token] = claims
        return claims

    def _secret(self) -> bytes:
        if not self._key:
            self._key = load_key(self._file)
        return self._key


def is_plain(token: str) -> bool:
    """Whether a reader of standard base64, which knows neither `-` nor `_`, gets the payload right."""
    return re.search(r"[-_]", token.split(".")[1]) is None


def load_key(path: Path) -> bytes:
    """
    Raises:
        StoreRefused: the file there cannot be read or is no key.
    """
    if not path.exists():
        make_key_file(path, secrets.token_hex(KEY_BYTES).encode())
    try:
        key = bytes.fromhex(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreRefused(f"{path} cannot be read as a key: {error}; remove it to have a new one") from error
    if len(key) < KEY_BYTES:
        raise StoreRefused(f"{path} is shorter than {KEY_BYTES} bytes; remove it to have a new one")
    return key
