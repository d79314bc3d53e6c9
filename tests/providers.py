"""An identity provider for tests: it makes keys, writes its JWKS and signs tokens. No network is asked."""

import json
import os
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

FILE = "identity-providers.json"
ISSUER, AUDIENCE = "https://login.example.org/realms/lab?a=~", "homeport"


CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


class IdentityProvider:
    """`kind`: the algorithm that it signs with, such as "ES256" or "RS256"."""

    def __init__(self, kind: str = "ES256", kid: str = "k1", *, bits: int = 2048) -> None:
        self.kind, self.kid = kind, kid
        self.key: Any
        if kind in CURVES:
            self.key, self._format = ec.generate_private_key(CURVES[kind]()), ECAlgorithm
        elif kind == "EdDSA":
            self.key, self._format = ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm
        else:
            self.key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
            self._format = RSAAlgorithm

    def jwk(self, *, private: bool = False, **more: Any) -> dict[str, Any]:
        key = self.key if private else self.key.public_key()
        return json.loads(self._format.to_jwk(key)) | {"kid": self.kid, "use": "sig"} | more

    def sign(self, now_s: float, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good token for five minutes; a claim that is None is left out."""
        told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": int(now_s), "exp": int(now_s) + 300}
        told = {name: value for name, value in (told | claims).items() if value is not None}
        return jwt.encode(told, self.key, self.kind, headers={"kid": self.kid} | (header or {}))


def trust(data_dir: Path, *jwks: dict[str, Any], file: str = "lab-keys.json", **more: Any) -> Path:
    """Makes a server trust ISSUER with these keys; `more`: further fields of it. Answers the key file."""
    keys = data_dir / file
    keys.write_text(json.dumps({"keys": list(jwks)}))
    entry = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": file, "subjects": {"ada": "homeport"}} | more
    replace(data_dir / FILE, json.dumps({"providers": [entry]}))
    return keys


def replace(path: Path, text: str) -> None:
    """As an editor does: a new file, which is told from the old one however little time has passed."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    os.replace(draft, path)
