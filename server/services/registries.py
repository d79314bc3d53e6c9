"""Logins to image registries: stored sealed, listed without their passwords, opened only for a pull."""

from sqlmodel import Session

from ...runtime.images import normal_server, registry_of
from ...runtime.model import RegistryLogin
from ..domain.registries import NAME, PullLogins, Registry, is_server, unknown_login
from ..domain.workload import Workload
from ..errors import Conflict, Forbidden, Invalid, NotFound, StoreRefused
from ..store import registries as rows
from ..store import secrets as secret_rows
from .access import ADMIN, Caller
from .context import Services

MAX_USERNAME = 256
# It travels in a header, encoded, whose size engines and registries limit; a cloud's key file is about 2400.
MAX_PASSWORD_BYTES = 16 * 1024


def list_registries(services: Services, who: Caller) -> list[Registry]:
    """Of the caller's workspace; a private one is its owner's and the admins' only."""
    found = services.store.read(lambda s: rows.registries_of(s, who.workspace))
    return [r for r in found if _is_for(r, who.owner)]


def _is_for(registry: Registry, owner: str) -> bool:
    """Whether somebody may know of it, and use it in workloads of theirs."""
    return registry.visibility == "public" or owner in (registry.owner, ADMIN)


def known_names(services: Services, workspace: str, owner: str) -> frozenset[str]:
    """Those that workloads of `owner` may name."""
    found = services.store.read(lambda s: rows.registries_of(s, workspace))
    return frozenset(r.name for r in found if _is_for(r, owner))


def count_registries(services: Services, workspace: str) -> int:
    """The private ones, too."""
    return len(services.store.read(lambda s: rows.registries_of(s, workspace)))


async def create_registry(
    services: Services,
    who: Caller,
    name: str,
    *,
    server: str,
    username: str,
    password: str,
    visibility: str = "public",
) -> Registry:
    """
    Args:
        server: host[:port], as the image's name begins; for Docker Hub any of its names.
        visibility: `public`: for all of the caller's workspace; `private`: for the caller.
    """
    workspace, now = who.workspace, services.clock.now_ms()
    made = Registry(workspace, name, normal_server(server), username, who.owner, now, visibility)
    _check(made, password)

    def insert(session: Session) -> None:
        if rows.sealed_registry(session, workspace, name) is not None:
            raise Conflict(
                f"a registry login named {name!r} already exists; remove it first, or choose another name"
            )
        known = [sealed for _, _, sealed in secret_rows.all_sealed(session)]
        known += [sealed for _, sealed in rows.all_sealed(session)]
        sealed = services.secret_box.seal(workspace, made.label, password, known=known)
        rows.insert_registry(session, made, sealed)

    await services.store.write(insert)
    return made


def _check(made: Registry, password: str) -> None:
    if NAME.fullmatch(made.name) is None:
        raise Invalid(
            "name",
            f"{made.name!r} must be at most 63 letters, digits, '-', '_' and '.', and begin and end with a "
            "letter or digit",
        )
    if not is_server(made.server):
        raise Invalid(
            "server",
            f"{made.server!r} must be HOST or HOST:PORT as the image's name begins, such as ghcr.io or "
            "127.0.0.1:5000, without a scheme or path; docker.io for Docker Hub",
        )
    name = made.username
    if not name or len(name) > MAX_USERNAME or ":" in name or not name.isprintable():
        raise Invalid(
            "username", f"{name!r} must be 1 to {MAX_USERNAME} printable characters, and none of them a ':'"
        )
    if not password.strip():
        raise Invalid("password", "is empty; pipe it in with --password-stdin")
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise Invalid("password", "is not valid text") from None
    if size > MAX_PASSWORD_BYTES or "\0" in password:
        raise Invalid("password", f"must be at most {MAX_PASSWORD_BYTES} bytes, and none of them NUL")


async def delete_registry(services: Services, who: Caller, name: str) -> None:
    """
    Also where a workload names it: what was pulled stays, a later pull goes without and says so.

    Raises:
        Forbidden: it is somebody else's, and shared with the caller.
        NotFound: there is none, or none that the caller may know of.
    """

    def remove(session: Session) -> None:
        found = rows.sealed_registry(session, who.workspace, name)
        if found is None or not _is_for(found[0], who.owner):
            raise NotFound("registry login", name)
        if who.owner not in (found[0].owner, ADMIN):
            raise Forbidden(
                f"registry login {name!r} is {found[0].owner}'s: only they and admins may remove it; "
                "`homeport registry add` makes one of your own"
            )
        rows.remove_registry(session, who.workspace, name)

    await services.store.write(remove)


def logins_for(services: Services, workload: Workload, image: str) -> PullLogins:
    """
    With the passwords of now: those of the workload's pull secrets that are for the registry of `image`,
    which one of its replicas runs. Its owner's own come first, then the others, each in the order in which
    they are named.
    """
    wanted, unusable = registry_of(image), list[str]()
    usable: list[tuple[Registry, RegistryLogin]] = []
    for name in dict.fromkeys(workload.spec.pull_secrets):
        found = services.store.read(lambda s, n=name: rows.sealed_registry(s, workload.workspace, n))
        if found is None or not _is_for(found[0], workload.owner):
            unusable.append(unknown_login(name))
            continue
        registry, sealed = found
        if registry.server != wanted:
            continue
        try:
            password = services.secret_box.open(workload.workspace, registry.label, sealed)
        except StoreRefused as error:
            unusable.append(f"the password of registry login {name!r} cannot be opened: {error}")
            continue
        usable.append((registry, RegistryLogin(name, wanted, registry.username, password)))
    usable.sort(key=lambda pair: pair[0].owner != workload.owner)
    return PullLogins(tuple(login for _, login in usable), tuple(unusable))


def check_key(services: Services) -> str:
    """At start: a line saying which logins do not open with the key that is given, or ""."""
    refused: list[tuple[str, StoreRefused]] = []
    for registry, sealed in services.store.read(rows.all_sealed):
        try:
            services.secret_box.open(registry.workspace, registry.label, sealed)
        except StoreRefused as error:
            refused.append((registry.name, error))
    if not refused:
        return ""
    names = ", ".join(name for name, _ in refused)
    return f"{len(refused)} registry login(s) cannot be opened ({names}): {refused[0][1]}"
