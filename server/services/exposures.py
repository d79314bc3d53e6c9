"""Exposed ports: whose tokens open them, and that no two have the same address."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from sqlmodel import Session, col, func, select

from ..domain.exposures import check_free
from ..domain.serving import Exposure
from ..domain.workload import Workload
from ..errors import Conflict
from ..reconcile.exposed_routes import Known, Load, Person
from ..routing import hosts_of
from ..store.documents import workload_from
from ..store.host_ports import owner_of
from ..store.tables import WorkloadRow
from .applications import Applications
from .context import Services
from .ingresses import ENDPOINT
from .jwt_tokens import load_key

HAS_EXPOSURES = '"exposures":[{'  # in the document of each workload that has some, and of few others


def loader(services: Services, key_file: Path, *, is_local: bool) -> Load:
    """
    Reads who may be let in, anew each time.

    Args:
        key_file: of the signed tokens.
        is_local: the gateway is reached from this machine only.
    """
    applications = Applications(services.store)

    @cache
    def key() -> str:
        return load_key(key_file).hex()

    def load() -> Known:
        now = services.clock.now_ms()
        people = [
            Person(frozenset({t.owner}), t.workspace, frozenset({t.sha256}))
            for t in services.store.reads.tokens()
            if t.expires_at_ms > now
        ]
        people += [
            Person(frozenset({a.client_id, a.id, a.name}), None, client_id=a.client_id)
            for a in applications.all()
        ]
        return Known(people, key(), is_local)

    return load


def unknown_people(services: Services, workspace: str, names: Sequence[str]) -> list[str]:
    """Those of `names` that nobody here has who could have a token that is good in the workspace."""
    known = {t.owner for t in services.store.reads.tokens() if t.workspace == workspace}
    for application in Applications(services.store).all():
        known |= {application.client_id, application.id, application.name}
    return [name for name in names if name not in known]


def claims(
    services: Services,
    exposures: Sequence[Exposure],
    fields: Sequence[str],
    host_ports: Sequence[tuple[int, str, str]] = (),
) -> Callable[[Session], None]:
    """
    A check for the transaction that makes a workload.

    Args:
        exposures: those whose address was asked for; that of the others follows from a name that is
            the workload's own. fields: of the request, by exposure.
        host_ports: number, protocol and field of each port of the host that was asked for by number.

    Raises (when it is called):
        Conflict: somebody else has the address, or the port.
    """
    domains = {i.domain for i in services.store.reads.ingresses()}

    def check(session: Session) -> None:
        for exposure, field in zip(exposures, fields, strict=True):
            if exposure.host in domains:
                raise Conflict(f"{field}: {exposure.host} is the domain of an ingress; choose another url")
        if exposures:
            check_free(exposures, fields, _exposing(session))
            _check_endpoints(session, exposures, fields)
        for number, protocol, field in host_ports:
            if (owner := owner_of(session, number, protocol)) is not None:
                raise Conflict(f"{field}: port {number} of the host belongs to {owner}; choose another")

    return check


def _exposing(session: Session) -> list[Workload]:
    """Those that have exposed ports, also while they are suspended; what is deleted has lost them."""
    query = select(WorkloadRow.doc).where(
        col(WorkloadRow.is_archived).is_(False), func.instr(col(WorkloadRow.doc), HAS_EXPOSURES) > 0
    )
    found = (workload_from(doc) for doc in session.exec(query))
    return [w for w in found if w.spec.exposures and not w.is_deleting]


def _check_endpoints(session: Session, exposures: Sequence[Exposure], fields: Sequence[str]) -> None:
    if not any(e.host for e in exposures):
        return
    query = select(WorkloadRow.workspace, WorkloadRow.name).where(
        WorkloadRow.kind == ENDPOINT, col(WorkloadRow.is_archived).is_(False)
    )
    taken = {host: name for workspace, name in session.exec(query) for host in hosts_of(workspace, name)}
    for exposure, field in zip(exposures, fields, strict=True):
        if exposure.host in taken:
            raise Conflict(f"{field}: endpoint {taken[exposure.host]} answers at {exposure.host} already")
