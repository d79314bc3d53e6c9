"""What `homeport exec` adds to its command's environment, so that the vendor's domain is here."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from .cli.client import ask, credentials


@contextlib.contextmanager
def vendor_domain(data_dir: Path, *, is_wanted: bool) -> Generator[dict[str, str]]:
    """The environment, good inside the block; empty where it is not wanted."""
    if not is_wanted:
        yield {}
        return
    from urllib.parse import urlsplit

    from ..runtime.clock import SystemClock
    from .certificates import domain_files, write_bundle
    from .routing import VENDOR_DOMAIN
    from .tls import ServedTls, at, trust_values, trusting
    from .vendor_proxy import Upstream, proxy_values, running

    now = at(SystemClock().now_ms())
    values = credentials(data_dir)
    trusted = values.get("SSL_CERT_FILE")
    url = urlsplit(ask(data_dir, "info")["gateway"])
    host, port = url.hostname or "127.0.0.1", url.port or 0
    upstream = Upstream(host, port, trusting(trusted) if url.scheme == "https" else None)
    served = ServedTls(domain_files(data_dir, "vendor", VENDOR_DOMAIN, now))
    # What the server's clients trust already (its own certificate may be in it) stays trusted.
    more = Path(trusted).read_bytes() if trusted else b""
    bundle = write_bundle(data_dir, os.environ, now, more)
    server = urlsplit(values["LEPTON_WORKSPACE_URL"]).hostname or "127.0.0.1"
    with running(served.context, upstream) as proxy_port:
        yield proxy_values(proxy_port, server, os.environ) | trust_values(bundle)
