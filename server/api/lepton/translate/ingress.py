"""Ingresses. Source of the spelling: leptonai 0.47.1, api.v2.types.ingress."""

import ipaddress
from dataclasses import replace
from typing import Any

from ....domain.ingresses import Ingress, IngressShare
from ....errors import Invalid, NotImplementedYet
from ....services.access import Caller
from ..wire_ingress import IngressBody, IngressEndpoint, IngressSpec

DEFAULT_WEIGHT = 100  # as `lep ingress add-endpoint` has it


def ingress_to_domain(who: Caller, body: IngressBody, spec: dict[str, Any], now_ms: int) -> Ingress:
    """
    Args:
        spec: `body.spec` as it was sent.
    """
    made = Ingress(
        domain=body.spec.domain_name, workspace=who.workspace, owner=who.owner, created_at_ms=now_ms,
        modified_at_ms=now_ms, modified_by=who.owner,
    )  # fmt: skip
    return with_spec(made, body.spec, spec)


def with_spec(ingress: Ingress, spec: IngressSpec, raw: dict[str, Any]) -> Ingress:
    """The ingress with that spec; who made it and when stays."""
    shadow, auth, limit = spec.traffic_shadowing_config, spec.auth_config, spec.retelimit_config
    if shadow is not None and shadow.percentage:
        raise NotImplementedYet("spec.traffic_shadowing_config of an ingress")
    addresses = auth.ip_allowlist if auth else None
    shares = tuple(share_to_domain(e, f"spec.endpoints[{i}]") for i, e in enumerate(spec.endpoints or ()))
    extras = {k: v for k, v in raw.items() if k != "domain_name"}
    if spec.endpoints is not None:  # each with what it left out, so that the same sent whole is the same
        extras["endpoints"] = [e | _share_to_wire(s) for e, s in zip(raw["endpoints"], shares, strict=True)]
    return replace(
        ingress,
        domain=spec.domain_name,
        shares=shares,
        is_rate_limited=limit is not None and limit.workspace_tier_ratelimiter is not None,
        needs_workspace_token=auth is not None and auth.lepton_workspace_token_auth is not None,
        addresses=tuple(_network(i, a) for i, a in enumerate(addresses or ())),
        extras=extras,
    )


def share_to_domain(endpoint: IngressEndpoint, where: str) -> IngressShare:
    weight = DEFAULT_WEIGHT if endpoint.weight is None else endpoint.weight
    balancing, choice_count = None, None
    if (config := endpoint.load_balance_config) is not None:
        if config.maglev is not None and config.least_request is not None:
            raise Invalid(f"{where}.load_balance_config", "has both least_request and maglev; name one")
        if config.maglev is not None:
            balancing = "maglev"
        elif config.least_request is not None:
            balancing, choice_count = "least_request", config.least_request.choice_count
    return IngressShare(endpoint.deployment, weight, balancing, choice_count)


def spec_to_wire(ingress: Ingress) -> dict[str, Any]:
    """Complete, since the clients send it back whole. What the request left out stays out."""
    wired: dict[str, Any] = {**ingress.extras, "domain_name": ingress.domain}
    if ingress.shares or "endpoints" in wired:
        told: list[dict[str, Any]] = wired.get("endpoints") or []
        sent = {e["deployment"]: e for e in told}
        wired["endpoints"] = [sent.get(s.endpoint, {}) | _share_to_wire(s) for s in ingress.shares]
    return wired


def ingress_to_wire(ingress: Ingress, gateway_url: str, *, is_bare: bool) -> dict[str, Any]:
    """
    Args:
        is_bare: none of its endpoints that have a weight is there any more.
    """
    return {
        "metadata": {
            "id": ingress.domain,
            "name": ingress.domain,
            "created_at": ingress.created_at_ms,
            "version": ingress.version,
            "owner": ingress.owner,
            "created_by": ingress.owner,
            "last_modified_at": ingress.modified_at_ms,
            "last_modified_by": ingress.modified_by,
        },
        "spec": spec_to_wire(ingress),
        "status": {"validation_status": "active", "message": _message(ingress, gateway_url, is_bare=is_bare)},
    }


def _message(ingress: Ingress, gateway_url: str, *, is_bare: bool) -> str:
    """What a server on one machine can do, and what it cannot. `lep ingress list` shows it whole."""
    told = f"answers at {gateway_url} to Host: {ingress.domain}"
    if not ingress.shares:
        told += ", with 503 until it has an endpoint"
    elif is_bare:
        told += ", with 503, since the endpoints that have a weight in it are removed"
    if gateway_url.startswith("https:"):
        return f"{told}; DNS is not looked at, and the certificate is that of this server, not one by DNS"
    return f"{told}; DNS is not looked at and no certificate is issued by it: HTTPS comes with `serve --tls`"


def _share_to_wire(share: IngressShare) -> dict[str, Any]:
    wired: dict[str, Any] = {"deployment": share.endpoint, "weight": share.weight}
    if share.balancing == "maglev":
        wired["load_balance_config"] = {"maglev": {}}
    elif share.balancing is not None:
        chosen = {} if share.choice_count is None else {"choice_count": share.choice_count}
        wired["load_balance_config"] = {"least_request": chosen}
    return wired


def _network(index: int, text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise Invalid(
            f"spec.auth_config.ip_allowlist[{index}]", f"{error}; for example 10.0.0.0/8"
        ) from error
