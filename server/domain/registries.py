"""Logins to image registries, which a workload names in its pull secrets."""

import re
from dataclasses import dataclass

from ...runtime.model import RegistryLogin

NO_LOGIN = "FailedToRetrieveImagePullSecret"  # the reason as Kubernetes has it
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
SERVER = re.compile(rf"({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?")


@dataclass(frozen=True, slots=True)
class Registry:
    """
    What may be shown of a login.

    Args:
        server: host[:port]; Docker Hub is `docker.io`.
        visibility: `public` is for all of its workspace, `private` for its owner and admins.
    """

    workspace: str
    name: str
    server: str
    username: str
    owner: str
    created_at_ms: int
    visibility: str = "public"

    @property
    def label(self) -> str:
        """What its password is sealed under: in a row whose server was changed it does not open."""
        return f"{self.name} for {self.username} at {self.server}"


@dataclass(frozen=True, slots=True)
class PullLogins:
    """
    What one pull may log in with.

    Args:
        logins: for its registry, in the order in which they are tried; none: a pull without.
        unusable: why some that were named cannot be used.
    """

    logins: tuple[RegistryLogin, ...] = ()
    unusable: tuple[str, ...] = ()


def is_server(text: str) -> bool:
    """`host[:port]`, in lower case."""
    match = SERVER.fullmatch(text)
    return match is not None and (match["port"] is None or 0 < int(match["port"]) < 65536)


def unknown_login(name: str) -> str:
    return (
        f"no registry login named {name!r} is known, the image is pulled without it; "
        "`homeport registry add` makes one"
    )
