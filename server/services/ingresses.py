"""Create, read, change and delete ingresses. A domain is one workspace's only."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlmodel import Session

from ..domain.ingresses import Ingress, IngressShare, check_shares, checked_domain, key_of
from ..errors import Conflict, Invalid, NotFound
from ..routing import LOCAL_DOMAIN, VENDOR_DOMAIN, hosts_of
from ..store import ingresses as rows
from . import org
from .access import Caller
from .context import Services
from .workloads import list_workloads

ENDPOINT = "endpoint"
MOST_ENDPOINTS = 64  # of one ingress
OWN_DOMAINS = (LOCAL_DOMAIN, VENDOR_DOMAIN)


def list_ingresses(services: Services, workspace: str) -> list[Ingress]:
    return [i for i in services.store.reads.ingresses() if i.workspace == workspace]


def gone_from(services: Services, workspace: str) -> Callable[[Ingress], bool]:
    """Whether an ingress of the workspace names endpoints, and none of those with a weight is left."""
    found = list_workloads(services, workspace, ENDPOINT, archived=False)
    there = {f.workload.name for f in found if not f.workload.is_deleting}
    return lambda i: bool(i.shares) and not any(s.weight and s.endpoint in there for s in i.shares)


def get_ingress(services: Services, workspace: str, domain: str) -> Ingress:
    found = services.store.read(lambda s: rows.load_ingress(s, key_of(domain)))
    if found is None or found.workspace != workspace:
        raise NotFound("ingress", domain)
    return found


async def create_ingress(
    services: Services, who: Caller, ingress: Ingress, own_names: frozenset[str]
) -> Ingress:
    """
    Args:
        own_names: of the server itself.

    Raises:
        Conflict: the domain is taken, be it by this workspace or by another.
        Invalid: the domain or its endpoints cannot be served.
    """
    wanted = replace(ingress, domain=checked_domain(ingress.domain, own_names, OWN_DOMAINS))
    _check(services, who, wanted, ())

    def insert(session: Session) -> None:
        if rows.load_ingress(session, wanted.domain) is not None:
            raise Conflict(
                f"spec.domain_name: an ingress for {wanted.domain} is there already; remove it first, or "
                "choose another domain"
            )
        rows.save_ingress(session, wanted)

    await services.store.write(insert)
    services.poke()
    return wanted


async def change_ingress(
    services: Services, who: Caller, domain: str, make: Callable[[Ingress], Ingress]
) -> Ingress:
    """
    Args:
        make: the new one from the one there is.

    Raises:
        Conflict: somebody else changed it at the same time.
        Invalid: it would name another domain, or endpoints that cannot be served.
    """
    before = get_ingress(services, who.workspace, domain)
    after = make(before)
    if key_of(after.domain) != before.domain:
        raise Invalid("spec.domain_name", f"of {before.domain} cannot be changed; make another ingress")
    after = replace(after, domain=before.domain)
    _check(services, who, after, [s.endpoint for s in before.shares])
    if after == before:
        return before
    after = replace(
        after, version=before.version + 1, modified_at_ms=services.clock.now_ms(), modified_by=who.owner
    )

    def save(session: Session) -> None:
        current = rows.load_ingress(session, before.domain)
        if current is None:
            raise NotFound("ingress", domain)
        if current != before:
            raise Conflict(f"ingress {domain} was changed at the same time; look at it and try again")
        rows.save_ingress(session, after)

    await services.store.write(save)
    services.poke()
    return after


async def add_share(services: Services, who: Caller, domain: str, share: IngressShare) -> Ingress:
    """An endpoint that is there already gets the new weight."""

    def add(ingress: Ingress) -> Ingress:
        kept = [share if s.endpoint == share.endpoint else s for s in ingress.shares]
        return replace(ingress, shares=tuple(kept if share in kept else [*kept, share]))

    return await change_ingress(services, who, domain, add)


async def remove_share(services: Services, who: Caller, domain: str, endpoint: str) -> Ingress:
    """The last one may go, too; the domain then answers that it has none."""

    def remove(ingress: Ingress) -> Ingress:
        kept = tuple(s for s in ingress.shares if s.endpoint != endpoint)
        if kept == ingress.shares:
            raise NotFound(f"endpoint of ingress {domain}", endpoint)
        return replace(ingress, shares=kept)

    return await change_ingress(services, who, domain, remove)


async def delete_ingress(services: Services, workspace: str, domain: str) -> None:
    found = get_ingress(services, workspace, domain)
    await services.store.write(lambda s: rows.remove_ingress(s, found.domain))
    services.poke()


def check_host_form(services: Services, workspace: str, name: str) -> None:
    """
    For a new endpoint.

    Raises:
        Conflict: `a-b` with `c` and `a` with `b-c` would have the same host name.
    """
    wanted = hosts_of(workspace, name)
    for other in sorted({p.name for p in org.list_projects(services)} - {workspace}):
        for found in list_workloads(services, other, ENDPOINT, archived=False):
            if hosts_of(other, found.workload.name) == wanted:
                raise Conflict(
                    f"metadata.name: an endpoint of another workspace answers at {wanted[0]}; choose "
                    "another name"
                )


def _check(services: Services, who: Caller, ingress: Ingress, before: Sequence[str]) -> None:
    """What the caller may not see is not there to be named."""
    if len(ingress.shares) > MOST_ENDPOINTS:
        raise Invalid("spec.endpoints", f"has {len(ingress.shares)}; {MOST_ENDPOINTS} at most")
    found = (
        list_workloads(services, ingress.workspace, ENDPOINT, archived=False, viewer=who)
        if ingress.shares
        else []
    )
    check_shares(ingress.shares, {f.workload.name for f in found if not f.workload.is_deleting}, before)
