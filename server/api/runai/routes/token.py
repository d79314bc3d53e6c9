"""
Tokens for credentials. What is wrong with them is told at once and in words: runapy takes a 401 here for
something to try again, so there is none.

Source: runapy 1.224.0, `ApiClient._make_token_request` and `TokenRequest`; the API description's
/api/v1/token, /api/v2/token (a form, as OAuth 2 has it) and /v1/k8s/auth/oauth/apptoken.
"""

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.responses import Response

from ....errors import Invalid
from ....services.applications import Application
from ....services.jwt_tokens import Tokens
from .. import errors, quirks
from ..call import Call
from ..context import RunaiContext
from ..registry import Routes

routes = Routes()
# Each grant, and the fields (without case and separators) that name the application and its secret.
PAIRS = {
    "app_token": ("appid", "appsecret"),
    "client_credentials": ("clientid", "clientsecret"),
}
SPELT = {"app_token": ("AppId", "AppSecret"), "client_credentials": ("clientID", "clientSecret")}
REFRESH = "refresh_token"
ELSEWHERE = {
    "password": "users have no passwords here",
    "exchange_token": "there is no identity provider here whose codes could be exchanged",
    "external_token_exchange": "there is no identity provider here whose tokens could be exchanged",
    "authorization_code": "there is no identity provider here whose codes could be exchanged",
}
REMEDY = "`homeport env` prints RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET"


class Denied(Exception):
    """No token; `code` is an error code as OAuth 2 (RFC 6749, 5.2) has them."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@routes.post("/api/v1/token", is_public=True)
async def create_token(call: Call) -> Response:
    try:
        made = grant(call.ctx, _fields(call.body), "grantType")
    except Denied as denied:
        return errors.body(400, str(denied), denied.code)
    told = {
        "accessToken": made.access,
        "idToken": made.access,
        "refreshToken": made.refresh,
        "expiresIn": int(made.lasts.total_seconds()),
    }
    return _kept_by_nobody(told)


@routes.post("/api/v2/token", is_public=True)
async def create_oauth_token(call: Call) -> Response:
    """
    Its errors have both dialects' keys: `error`, as OAuth 2 has it, and ours. The SDK's own method
    sends no body at all, and so gets one of them.
    """
    sent = call.form or call.body
    try:
        made = grant(call.ctx, _fields(sent), "grant_type")
    except Denied as denied:
        told = {"error": denied.code, "error_description": str(denied)}
        return JSONResponse({"code": 400, "message": str(denied), "details": denied.code} | told, 400)
    return _kept_by_nobody(
        {
            "access_token": made.access,
            "id_token": made.access,
            "token_type": "Bearer",
            "expires_in": int(made.lasts.total_seconds()),
            "refresh_token": made.refresh,
            "scope": "openid",
        }
    )


@routes.post("/v1/k8s/auth/oauth/apptoken", is_public=True)
async def create_app_token(call: Call) -> Response:
    """`id` or `name` is the application's."""
    fields = _fields(call.body)
    named = _text(fields, "id") or _text(fields, "name")
    try:
        made = call.ctx.issuer.issue(_check(call.ctx, named, _text(fields, "secret"), "id", "secret"))
    except Denied as denied:
        return errors.body(400, str(denied), denied.code)
    return _kept_by_nobody({"access_token": made.access, "id_token": made.access})


def grant(ctx: RunaiContext, fields: Mapping[str, Any], name: str) -> Tokens:
    """
    Args:
        fields: by key without case and separators. name: of the grant's own field, as the caller spells it.

    Raises:
        Denied: there is no such grant, or what it needs is missing or wrong.
    """
    wanted = _text(fields, "granttype") or ("app_token" if "appid" in fields else "")
    known = (*PAIRS, REFRESH, *ELSEWHERE)
    kind = quirks.read_member(wanted, known) if wanted else None
    if not wanted:
        raise Denied("invalid_request", f"{name}: is missing; it is one of {', '.join((*PAIRS, REFRESH))}")
    if kind is None:
        raise Denied(
            "unsupported_grant_type", f"{name}: {wanted[:64]!r} must be one of {', '.join((*PAIRS, REFRESH))}"
        )
    if kind in ELSEWHERE:
        raise Denied("unsupported_grant_type", f"{name}: {ELSEWHERE[kind]}; use app_token ({REMEDY})")
    if kind == REFRESH:
        who = ctx.issuer.refresher(_text(fields, "refreshtoken"))
        if who is None:
            raise Denied("invalid_grant", f"refreshToken: is missing, unknown or expired; {REMEDY}")
        return ctx.issuer.issue(who)
    named, secret = PAIRS[kind]
    # OAuth 2 calls them client_id and client_secret whatever the grant.
    given_name = _text(fields, named) or _text(fields, "clientid")
    given_secret = _text(fields, secret) or _text(fields, "clientsecret")
    return ctx.issuer.issue(_check(ctx, given_name, given_secret, *SPELT[kind]))


def _check(ctx: RunaiContext, named: str, secret: str, id_field: str, secret_field: str) -> Application:
    for field, value in ((id_field, named), (secret_field, secret)):
        if not value:
            raise Denied("invalid_request", f"{field}: is missing; {REMEDY}")
    found = ctx.issuer.applications.check(named, secret)
    if found is None:
        raise Denied("invalid_client", f"no application has this id and secret; {REMEDY}")
    return found


def _fields(body: Any) -> dict[str, Any]:
    if not isinstance(body, Mapping):
        raise Invalid("body", "must be a JSON object")
    return {key.replace("_", "").replace("-", "").lower(): value for key, value in body.items()}


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key, "")
    return value if isinstance(value, str) else ""


def _kept_by_nobody(told: dict[str, Any]) -> JSONResponse:
    """Source of the headers: RFC 6749, 5.1."""
    return JSONResponse(told, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})
