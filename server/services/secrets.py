"""Secrets: stored sealed, listed without their values, opened only for a container that starts."""

import re
from collections.abc import Collection, Sequence

from sqlmodel import Session

from ...runtime.errors import DriverError
from ..domain.workload import Workload
from ..errors import Conflict, Invalid, NotFound, StoreRefused
from ..store import registries
from ..store import secrets as rows
from ..store.secrets import Secret
from .access import Caller
from .context import Services

# The rule for environment variables, since `--secret NAME` uses the one name for both.
NAME = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]{0,252}")
# Source: Linux, include/uapi/linux/binfmts.h, MAX_ARG_STRLEN: `NAME=value` and its NUL.
MAX_ENTRY_BYTES = 128 * 1024


class SecretUnavailable(DriverError):
    """A launch fails: the secret was removed since the workload was created, or its key is not there."""

    code = "secret_unavailable"


def list_secrets(services: Services, who: Caller) -> list[Secret]:
    """Of the caller's workspace; a private one is its owner's and the admins' only."""
    found = services.store.read(lambda s: rows.secrets_of(s, who.workspace))
    return [s for s in found if s.visibility == "public" or who.is_admin or s.owner == who.owner]


async def create_secrets(services: Services, items: Sequence[tuple[Secret, str]]) -> None:
    """All of them or none. A name that is taken is refused: `lep` asks to remove the old one first."""
    for i, (secret, value) in enumerate(items):
        if NAME.fullmatch(secret.name) is None:
            raise Invalid(
                f"[{i}].name",
                f"{secret.name!r} must be at most 253 letters, digits, '-', '_' and '.', and not begin with "
                "a digit",
            )
        if "\0" in value:
            raise Invalid(f"[{i}].value", f"the value of {secret.name!r} holds a NUL character")
        try:
            size = len(secret.name) + len(value.encode()) + len("=\0")
        except UnicodeEncodeError:
            raise Invalid(f"[{i}].value", f"the value of {secret.name!r} is not valid text") from None
        if size > MAX_ENTRY_BYTES:
            raise Invalid(
                f"[{i}].value", f"the value of {secret.name!r} does not fit an environment variable (128 KiB)"
            )
    names = [secret.name for secret, _ in items]
    if twice := [n for n in names if names.count(n) > 1]:
        raise Invalid("name", f"{twice[0]!r} is given twice")

    def insert(session: Session) -> None:
        known = [sealed for _, _, sealed in rows.all_sealed(session)]
        known += [sealed for _, sealed in registries.all_sealed(session)]
        for secret, value in items:
            if rows.sealed_secret(session, secret.workspace, secret.name) is not None:
                raise Conflict(
                    f"a secret named {secret.name!r} already exists; remove it first, or choose another name"
                )
            sealed = services.secret_box.seal(secret.workspace, secret.name, value, known=known)
            rows.insert_secret(session, secret, sealed)
            known.append(sealed)

    await services.store.write(insert)


async def delete_secret(services: Services, who: Caller, name: str) -> None:
    """Also where a workload refers to it: containers that run keep their value, later ones say it is gone."""
    is_shown = any(s.name == name for s in list_secrets(services, who))
    if not (is_shown and await services.store.write(lambda s: rows.remove_secret(s, who.workspace, name))):
        raise NotFound("secret", name)


def check_secrets(
    services: Services, who: Caller, names: Sequence[str], *, kept: Collection[str] = ()
) -> None:
    """
    Args:
        kept: what the workload refers to already. Whoever may change it may keep it, be it private.

    Raises:
        Invalid: `spec.envs` refers to a secret that there is not, or not for the caller.
    """
    wanted = [n for n in names if n not in kept or not _is_there(services, who.workspace, n)]
    known = [s.name for s in list_secrets(services, who)] if wanted else []
    for name in wanted:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there is none"
            raise Invalid("spec.envs", f"no secret named {name!r}; {there}; `lep secret create` makes one")


def _is_there(services: Services, workspace: str, name: str) -> bool:
    return services.store.read(lambda s: rows.sealed_secret(s, workspace, name)) is not None


def reveal(services: Services, workspace: str, names: Sequence[str]) -> dict[str, str]:
    """
    The values, for a container that starts; they go nowhere else.

    Raises:
        SecretUnavailable: one was removed meanwhile, or was sealed with another key.
    """
    found: dict[str, str] = {}
    for name in names:
        sealed = services.store.read(lambda s, n=name: rows.sealed_secret(s, workspace, n))
        if sealed is None:
            raise SecretUnavailable(
                f"secret {name!r} was removed; create it again and start the workload anew"
            )
        try:
            found[name] = services.secret_box.open(workspace, name, sealed)
        except StoreRefused as error:
            raise SecretUnavailable(str(error)) from error
    return found


def environment(services: Services, workload: Workload) -> tuple[tuple[str, str], ...]:
    """`secret_env` with the values of now. Raises SecretUnavailable."""
    wanted = workload.spec.secret_env
    values = reveal(services, workload.workspace, [secret for _, secret in wanted])
    return tuple((name, values[secret]) for name, secret in wanted)


def volumes(services: Services, workload: Workload) -> tuple[tuple[str, str], ...]:
    """Those that its containers have as files, with the values of now. Raises SecretUnavailable."""
    names = dict.fromkeys(folder.secret for folder in workload.spec.options.secrets)
    return tuple(reveal(services, workload.workspace, list(names)).items())


def check_key(services: Services) -> str:
    """At start: a line saying which secrets do not open with the key that is given, or ""."""
    refused: list[tuple[str, StoreRefused]] = []
    for workspace, name, sealed in services.store.read(rows.all_sealed):
        try:
            services.secret_box.open(workspace, name, sealed)
        except StoreRefused as error:
            refused.append((name, error))
    if not refused:
        return ""
    return f"{len(refused)} secret(s) cannot be opened ({', '.join(n for n, _ in refused)}): {refused[0][1]}"
