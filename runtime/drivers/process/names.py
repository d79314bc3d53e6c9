"""Workers' names, on loopback addresses of their own."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hosts_file(group: str, names: Iterable[str]) -> str:
    """The host's own /etc/hosts, and a line for each worker."""
    return _host_names() + "".join(f"{loopback_address(group, name)} {name}\n" for name in names)


def loopback_address(group: str, name: str) -> str:
    """
    A worker's own address, the same for all who know its name: those who start first
    cannot ask those who start later. `worker-0` and `worker-0.job` are one worker.
    """
    digest = hashlib.sha256(f"{group}\0{name.split('.')[0]}".encode()).digest()
    return f"127.{1 + digest[0] % 254}.{digest[1]}.{1 + digest[2] % 254}"


def _host_names() -> str:
    try:
        return Path("/etc/hosts").read_text().rstrip("\n") + "\n"
    except OSError:
        return "127.0.0.1 localhost\n"
