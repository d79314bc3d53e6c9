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
from .external_tokens import NotProven
from .identity_providers import IdentityProviders

ALGORITHM, KEY_BYTES = "HS256", 32
KEY_FILE = "token.key"  # in the data directory
ACCESS, REFRESH = "access", "refresh"
ISSUER = "homeport"
MOST_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Session:
    """
    What tokens that came from another one keep of where they came from.

    Args:
        ends_at_s: no token of it is good after that Unix time; None: it may be renewed without end.
        via: the proof of an identity provider that it rests on (`external_tokens.via_of`); "": on none.
    """

    ends_at_s: int | None = None
    via: str = ""


OPEN = Session()


@dataclass(frozen=True, slots=True)
class Claims:
    """`kind`: ACCESS or REFRESH. `expires_at_s`: Unix time."""

    client_id: str
    kind: str
    expires_at_s: int
    session: Session


@dataclass(frozen=True, slots=True)
class Tokens:
    """
    What an application is given; `refresh` is good for twice as long as `access`, which `lasts` is of.
    Neither is good longer than their session.
    """

    access: str
    refresh: str
    lasts: timedelta


class TokenIssuer:
    """
    Makes and reads tokens. A token is good until it expires, or its application is gone, or the
    provider it rests on is not trusted with it any more.

    Args:
        key_file: made at the first use, readable by its owner only. Whoever removes it makes every
            token invalid.
    """

    def __init__(
        self,
        applications: Applications,
        clock: Clock,
        key_file: Path,
        lifetime: timedelta,
        providers: IdentityProviders,
    ) -> None:
        self.applications = applications
        self._clock, self._file, self._lifetime = clock, key_file, lifetime
        self._providers = providers
        self._key = b""
        self._read: dict[str, Claims] = {}

    def issue(self, application: Application, session: Session = OPEN) -> Tokens:
        now_s = self._clock.now_ms() // 1000
        ends = [] if session.ends_at_s is None else [session.ends_at_s]
        whole_s = int(self._lifetime.total_seconds())
        short_s, long_s = (min([now_s + s, *ends]) for s in (whole_s, whole_s * 2))
        return Tokens(
            self._token(application, Claims(application.client_id, ACCESS, short_s, session)),
            self._token(application, Claims(application.client_id, REFRESH, long_s, session)),
            timedelta(seconds=short_s - now_s),
        )

    def bearer(self, token: str) -> Application | None:
        """Whose access token it is; None: it is none of ours, or is not good any more."""
        held = self._held(token, ACCESS)
        return held[0] if held else None

    def renew(self, refresh_token: str) -> Tokens | None:
        """Tokens of the same application and session; None: this is no refresh token that is good."""
        held = self._held(refresh_token, REFRESH)
        return self.issue(held[0], held[1].session) if held else None

    def exchange(self, access_token: str) -> Tokens | None:
        """
        Tokens of the same application that end with the one they were given for: who has an access
        token only does not come to have it for longer. None: this is no access token that is good.
        """
        held = self._held(access_token, ACCESS)
        if held is None:
            return None
        application, claims = held
        return self.issue(application, Session(claims.expires_at_s, claims.session.via))

    def admit(self, external_token: str) -> Tokens:
        """
        Tokens for whom an identity provider vouches. They can be renewed until the first refresh token
        would expire; then the provider has to be asked again.

        Raises:
            NotProven: the token is no good proof, or stands for an application that is not there.
        """
        now_ms = self._clock.now_ms()
        proof = self._providers.prove(external_token, now_ms / 1000)
        application = self.applications.find(proof.client_id)
        if application is None:
            raise NotProven("the application that it stands for does not exist")
        end_s = now_ms // 1000 + 2 * int(self._lifetime.total_seconds())
        return self.issue(application, Session(end_s, proof.via))

    def _held(self, token: str, kind: str) -> tuple[Application, Claims] | None:
        claims = self._claims(token)
        if claims is None or claims.kind != kind or claims.expires_at_s * 1000 <= self._clock.now_ms():
            return None
        via = claims.session.via
        if via and not self._providers.stands(via, claims.client_id):
            return None
        application = self.applications.find(claims.client_id)
        return (application, claims) if application else None

    def _token(self, application: Application, claims: Claims) -> str:
        import jwt

        session = claims.session
        told: dict[str, str | int] = {
            "iss": ISSUER, "sub": application.id, "azp": claims.client_id, "typ": claims.kind,
            "iat": self._clock.now_ms() // 1000, "exp": claims.expires_at_s,
        }  # fmt: skip
        if session.ends_at_s is not None:
            told["end"] = session.ends_at_s
        if session.via:
            told["via"] = session.via
        while True:
            token = jwt.encode(told | {"jti": secrets.token_hex(8)}, self._secret(), ALGORITHM)
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
            end = None if told.get("end") is None else int(told["end"])
            session = Session(end, str(told.get("via", "")))
            claims = Claims(str(told["azp"]), str(told["typ"]), int(told["exp"]), session)
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
