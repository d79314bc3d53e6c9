"""What a user can do about a pull that failed."""

from collections.abc import Sequence

from sqlmodel import Session

from ...runtime.errors import ImagePullFailed, PullFailure
from ...runtime.images import registry_of
from ..domain.registries import NO_LOGIN
from ..store.writes import add_event

ADD = "`homeport registry add NAME --server {} --username USER --password-stdin`"


def remedy(error: ImagePullFailed, pull_secrets: Sequence[str]) -> str:
    """
    Args:
        pull_secrets: names of logins that the workload came with; `error` tells which was used.
    """
    server = registry_of(error.image)
    add = ADD.format(server)
    match error.failure:
        case PullFailure.DENIED if len(error.logins) > 1:
            return (
                f"{server} refuses the logins {', '.join(map(repr, error.logins))}, or none of them may read "
                f"this image: `homeport registry remove {error.logins[0]}` and add it again with the right "
                "password"
            )
        case PullFailure.DENIED if error.logins:
            (login,) = error.logins
            return (
                f"{server} refuses the login {login!r}, or it may not read this image: "
                f"`homeport registry remove {login}` and add it again with the right password"
            )
        case PullFailure.DENIED if pull_secrets:
            named = ", ".join(repr(name) for name in pull_secrets)
            return f"{server} wants a login and {named} is none that can be used for it: {add}"
        case PullFailure.DENIED:
            return f"{server} wants a login: {add}, then name it in image_pull_secrets"
        case PullFailure.LIMITED if not error.logins:
            return f"{server} allows more to those who log in: {add}, then name it in image_pull_secrets"
        case PullFailure.MISSING:
            return f"{server} has no such image or tag; check the name, or push it there"
        case PullFailure.INVALID:
            return (
                "no image can have that name, so it is not tried again: [HOST[:PORT]/]PATH[:TAG], without a "
                "scheme, the path in lower case"
            )
        case PullFailure.UNREACHABLE:
            return f"check the address, and that a registry runs at {server}"
        case PullFailure.SILENT:
            return f"{server} does not answer in time; check that it is well and that this machine reaches it"
        case PullFailure.PLAIN_HTTP:
            return (
                f"{server} speaks plain HTTP: list it under insecure-registries in the engine's daemon.json"
            )
        case PullFailure.UNTRUSTED:
            return (
                "the engine does not trust its certificate: put the authority's into "
                f"/etc/docker/certs.d/{server}/ca.crt"
            )
        case PullFailure.LIMITED | PullFailure.OTHER:
            return ""


def add_unusable(session: Session, workload_id: str, messages: Sequence[str], now_ms: int) -> None:
    """Events that tell which logins its image was pulled without."""
    for message in messages:
        add_event(session, workload_id, now_ms, NO_LOGIN, message, type_="Warning")
