"""The identity providers that the admin of this server trusts; see `provider_file` for how they are told."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import Invalid
from .external_tokens import NotProven, Proof, Provider, prove, via_of

log = logging.getLogger(__name__)
FILE = "identity-providers.json"
_Seen = tuple[tuple[int, int, int, int] | None, ...]


class IdentityProviders:
    """
    What the file says now: it and the key files are read again when one of them has changed. While one
    cannot be read nobody is trusted, and the log says why.

    Args:
        path: of the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: tuple[Path, ...] = (path,)
        self._seen: _Seen = ()
        self._providers: tuple[Provider, ...] = ()
        self._standing: frozenset[tuple[str, str]] = frozenset()
        self._trouble = ""

    def prove(self, token: str, now_s: float) -> Proof:
        """
        Whose token this is.

        Raises:
            NotProven: nobody's whom a provider that is trusted now vouches for.
        """
        self._look()
        if self._trouble:
            raise NotProven(f"{FILE} of this server cannot be read; its log says why")
        if not self._providers:
            raise NotProven(f"no identity provider is trusted here; {FILE} in the data directory names them")
        return prove(token, self._providers, now_s)

    def stands(self, via: str, client_id: str) -> bool:
        """Whether who was let in by such a proof would still be this application."""
        self._look()
        return (via, client_id) in self._standing

    def _look(self) -> None:
        if (seen := _stamps(self._files)) == self._seen:
            return
        before, self._trouble = self._trouble, ""
        self._providers, self._files, self._seen = (), (self._path,), ()
        if seen[0] is not None:
            from .provider_file import read_providers  # only where there is something to read

            try:
                self._providers, keys = read_providers(self._path)
                self._files = (self._path, *keys)
            except Invalid as error:
                self._trouble = str(error)
                if self._trouble != before:
                    log.error("no identity provider is trusted: %s", error)
        self._standing = _standing(self._providers)
        # Else it is read once more: what is wrong may be in a key file, of which nothing is known yet.
        if not self._trouble and len(self._files) == len(seen):
            self._seen = seen


def _standing(providers: Sequence[Provider]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (via_of(p.issuer, subject), client_id) for p in providers for subject, client_id in p.subjects.items()
    )


def _stamps(files: Sequence[Path]) -> _Seen:
    """By which a change is told; None: it is not there."""
    return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        told = os.stat(path)
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino, told.st_mode
