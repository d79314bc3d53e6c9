"""
Encrypts secrets at rest: Fernet (AES-128-CBC with HMAC-SHA256).

The key is that of `secret.key` in the data directory, or one that scrypt derives
from the passphrase HOMEPORT_SECRET_KEY. A sealed text says which it needs:
`file:<token>` or `scrypt:<salt>:<token>`, so that both kinds may stand side by side.
"""

import base64
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreRefused

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

FILE, SCRYPT = "file", "scrypt"
SALT_BYTES = 16
# 32 MiB and about 0.1 s; source: RFC 7914 section 2 and OWASP's sheet on password storage.
SCRYPT_N, SCRYPT_R, SCRYPT_P, SCRYPT_MEMORY = 2**15, 8, 1, 64 * 2**20


class SecretBox:
    """`cryptography` is imported and the key made or derived at first use, not before."""

    def __init__(self, data_dir: Path, passphrase: str | None = None) -> None:
        self._file = data_dir / "secret.key"
        self._passphrase = passphrase
        self._keys: dict[str, Fernet] = {}
        self._lock = threading.Lock()  # the writer's thread seals, the loop's opens

    def seal(self, workspace: str, name: str, value: str, *, known: Sequence[str] = ()) -> str:
        """
        Args:
            known: what is sealed already. The key must open it, and its salt is used
                again, so that few keys are derived.

        Raises:
            StoreRefused: the key cannot be used, or is not that of the known ones.
        """
        from cryptography.fernet import InvalidToken

        kind = FILE if self._passphrase is None else SCRYPT
        alike = [text for text in known if text.startswith(f"{kind}:")]
        if alike:
            prefix, _, token = alike[-1].rpartition(":")
            try:
                self._key(prefix).decrypt(token)
            except InvalidToken:
                raise StoreRefused(f"the secrets there are do not open with {self._remedy(prefix)}") from None
        elif kind == SCRYPT:
            prefix = f"{SCRYPT}:{base64.urlsafe_b64encode(secrets.token_bytes(SALT_BYTES)).decode()}"
        else:
            prefix = FILE
            if not self._file.exists():
                from cryptography.fernet import Fernet

                make_key_file(self._file, Fernet.generate_key())
        # Name and workspace are inside too: a row moved to another name in the database does not open.
        plain = json.dumps([workspace, name, value]).encode()
        return f"{prefix}:{self._key(prefix).encrypt(plain).decode()}"

    def open(self, workspace: str, name: str, sealed: str) -> str:
        """
        Raises:
            StoreRefused: the key is missing or is not the one that it was sealed with.
        """
        from cryptography.fernet import InvalidToken

        prefix, _, token = sealed.rpartition(":")
        try:
            plain = json.loads(self._key(prefix).decrypt(token))
        except InvalidToken:
            raise StoreRefused(f"secret {name!r} does not open with {self._remedy(prefix)}") from None
        if plain[:2] != [workspace, name]:
            raise StoreRefused(f"secret {name!r} holds what was sealed under another name; create it anew")
        return str(plain[2])

    def _remedy(self, prefix: str) -> str:
        what = str(self._file) if prefix == FILE else "the passphrase in HOMEPORT_SECRET_KEY"
        return f"{what}; give back the one they were made with, or remove them and create them anew"

    def _key(self, prefix: str) -> "Fernet":
        with self._lock:
            if prefix not in self._keys:
                self._keys[prefix] = self._load(prefix)
            return self._keys[prefix]

    def _load(self, prefix: str) -> "Fernet":
        from cryptography.fernet import Fernet

        kind, _, salt = prefix.partition(":")
        if kind == FILE:
            try:
                return Fernet(self._file.read_bytes().strip())
            except (OSError, ValueError) as error:
                raise StoreRefused(
                    f"{self._file} holds no usable key ({type(error).__name__}); put back the one that was "
                    "there, or remove the secrets and the file and create them anew"
                ) from None
        if self._passphrase is None:
            raise StoreRefused(
                "HOMEPORT_SECRET_KEY is not set, and secrets were stored under it; "
                "set it again, or remove them and create them anew"
            )
        key = hashlib.scrypt(
            self._passphrase.encode(), salt=base64.urlsafe_b64decode(salt), n=SCRYPT_N, r=SCRYPT_R,
            p=SCRYPT_P, maxmem=SCRYPT_MEMORY, dklen=32,
        )  # fmt: skip
        return Fernet(base64.urlsafe_b64encode(key))


def make_key_file(path: Path, key: bytes) -> None:
    """Whole or not at all, readable by its owner only, and never over one that is there."""
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o600)
        file.write(key)
        file.flush()
        os.fsync(handle)
    os.link(draft, path)
    draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)  # the name itself must survive a power cut, too
    os.fsync(folder)
    os.close(folder)
