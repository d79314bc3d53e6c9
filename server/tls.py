"""A certificate that is served: read from its files, and again when they have changed."""

import contextlib
import logging
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger(__name__)
# Where programs look for what they trust: httpx and OpenSSL, requests, curl.
TRUST_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM. `cert`: the server's first, then those that lead to its issuer. `key`: without a passphrase."""

    cert: Path
    key: Path


class ServedTls:
    """Connections made before a change keep what they have."""

    def __init__(self, files: TlsFiles) -> None:
        """
        Raises:
            OSError, ssl.SSLError: the files cannot be used.
        """
        self.files = files
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._stamps = self._look()
        self.context.load_cert_chain(files.cert, files.key, password=_none)

    def look(self) -> None:
        """Takes up what has changed; files that do not fit leave the certificate as it was."""
        stamps = self._look()
        if stamps == self._stamps or stamps is None:
            return
        self._stamps = stamps
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                self.files.cert, self.files.key, password=_none
            )  # tried apart first: a key that does not fit would spoil the one that is served
            self.context.load_cert_chain(self.files.cert, self.files.key, password=_none)
        except (OSError, ssl.SSLError) as error:
            log.error("the changed certificate %s cannot be used: %s", self.files.cert, error)
        else:
            log.info("took up the changed certificate %s", self.files.cert)

    def _look(self) -> tuple[int, int, int, int] | None:
        with contextlib.suppress(OSError):
            cert, key = os.stat(self.files.cert), os.stat(self.files.key)
            return cert.st_mtime_ns, cert.st_ino, key.st_mtime_ns, key.st_ino
        return None


def _none() -> str:
    """Instead of a question at the terminal."""
    return ""


def trust_values(bundle: Path | None) -> dict[str, str]:
    """For the environment of a client."""
    return dict.fromkeys(TRUST_VARIABLES, str(bundle)) if bundle else {}


def trusting(bundle: str | None) -> ssl.SSLContext | None:
    """For our own requests; None where nothing but the usual is trusted."""
    if not bundle:
        return None
    context = ssl.create_default_context(cafile=bundle)
    # A certificate that the user gave stands in it as it is, without its issuer.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def at(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms / 1000, UTC)


def url_host(host: str) -> str:
    """As it stands in a URL."""
    return f"[{host}]" if ":" in host else host
