"""
Tokens for credentials. What is wrong with them is told at once and in words: runapy takes a 401 here for
something to try again, so there is none.

Source: runapy 1.224.0, `ApiClient._make_token_request`, `TokenRequest` and `TokenRequestGrantTypeEnum`;
the API description's /api/v1/token, /api/v2/token (a form, as OAuth 2 has it) and
/v1/k8s/auth/oauth/apptoken. There `exchange_token` takes the `code` of an authorization server.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.responses import Response

from ....errors import Invalid
from ....services.access import hash_token
from ....services.applications import Application
from ....services.external_tokens import NotProven
from ....services.jwt_tokens import Tokens
from .. import errors, quirks
from ..call import Call
from ..registry import Routes

routes = Routes()
REMEDY = "`homeport env` prints RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET"
Fields = Mapping[str, Any]  # by key without case and separators


class Denied(Exception):
    """No token; `code` is an error code as OAuth 2 (RFC 6749, 5.2) has them."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@routes.post("/api/v1/token", is_public=True)
async def create_token(call: Call) -> Response:
    try:
        made = grant(call, _fields(call.body), "grantType")
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
        made = grant(call, _fields(sent), "grant_type")
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
        found = _check(call, named, _text(fields, "secret"), ("id", "secret"), "invalid_client")
        made = call.ctx.issuer.issue(found)
    except Denied as denied:
        return errors.body(400, str(denied), denied.code)
    return _kept_by_nobody({"access_token": made.access, "id_token": made.access})


def grant(call: Call, fields: Fields, name: str) -> Tokens:
    """
    Args:
        name: of the grant's own field, as the caller spells it.

    Raises:
        Denied: there is no such grant, or what it needs is missing or wrong.
    """
    wanted = _text(fields, "granttype") or ("app_token" if "appid" in fields else "")
    if not wanted:
        raise Denied("invalid_request", f"{name}: is missing; it is one of {', '.join(GRANTS)}")
    kind = quirks.read_member(wanted, tuple(GRANTS))
    if kind is None:
        raise Denied("unsupported_grant_type", f"{name}: {wanted[:64]!r} must be one of {', '.join(GRANTS)}")
    return GRANTS[kind](call, fields)


def _app_token(call: Call, fields: Fields) -> Tokens:
    return _client(call, fields, ("AppId", "AppSecret"))


def _client_credentials(call: Call, fields: Fields) -> Tokens:
    return _client(call, fields, ("clientID", "clientSecret"))


def _client(call: Call, fields: Fields, names: tuple[str, str]) -> Tokens:
    # OAuth 2 calls them client_id and client_secret whatever the grant.
    named, secret = (
        _text(fields, name.lower()) or _text(fields, other)
        for name, other in zip(names, ("clientid", "clientsecret"), strict=True)
    )
    return call.ctx.issuer.issue(_check(call, named, secret, names, "invalid_client"))


def _password(call: Call, fields: Fields) -> Tokens:
    """Who has a name and a secret here is an application."""
    named, secret = _text(fields, "username"), _text(fields, "password")
    return call.ctx.issuer.issue(_check(call, named, secret, ("username", "password"), "invalid_grant"))


def _refresh(call: Call, fields: Fields) -> Tokens:
    made = call.ctx.issuer.renew(_text(fields, "refreshtoken"))
    if made is None:
        raise Denied("invalid_grant", f"refreshToken: is missing, unknown or expired; {REMEDY}")
    return made


def _exchange(call: Call, fields: Fields) -> Tokens:
    """What an authorization server would call a code is an access token here; it is led nowhere."""
    made = call.ctx.issuer.exchange(_text(fields, "code"))
    if made is None:
        raise Denied(
            "invalid_grant",
            "code: is missing, or no access token of this server that is good; app_token gives one"
            f" ({REMEDY})",
        )
    return made


def _external(call: Call, fields: Fields) -> Tokens:
    token = _text(fields, "externaltoken")
    if not token:
        raise Denied("invalid_request", "externalToken: is missing; it is a token of an identity provider")
    try:
        return call.ctx.issuer.admit(token)
    except NotProven as error:
        raise Denied("invalid_grant", f"externalToken: {error}") from None


GRANTS: dict[str, Callable[[Call, Fields], Tokens]] = {
    "app_token": _app_token,
    "client_credentials": _client_credentials,
    "password": _password,
    "refresh_token": _refresh,
    "exchange_token": _exchange,
    "authorization_code": _exchange,  # as /api/v2/token calls it
    "external_token_exchange": _external,
}


def _check(call: Call, named: str, secret: str, fields: tuple[str, str], wrong: str) -> Application:
    """
    The application that has this secret. Who has tried many wrong ones has to wait before the next.

    Args:
        wrong: the error code where there is none.
    """
    for field, value in zip(fields, (named, secret), strict=True):
        if not value:
            raise Denied("invalid_request", f"{field}: is missing; {REMEDY}")
    guesses, now_s = call.ctx.guesses, call.ctx.services.clock.monotonic_s()
    hashed = hash_token(f"{named}\n{secret}")
    if not guesses.is_known(call.client, hashed) and guesses.pause_s(call.client, now_s):
        raise Denied("slow_down", "too many wrong secrets came from this address; try again in a second")
    found = call.ctx.issuer.applications.check(named, secret)
    if found is None:
        guesses.was_wrong(call.client, now_s)
        first, second = ("id", "secret") if wrong == "invalid_client" else fields
        raise Denied(wrong, f"no application has this {first} and {second}; {REMEDY}")
    guesses.was_right(call.client, hashed, now_s)
    return found


def _fields(body: Any) -> dict[str, Any]:
    if not isinstance(body, Mapping):
        raise Invalid("body", "must be a JSON object")
    return {key.replace("_", "").replace("-", "").lower(): value for key, value in body.items()}


def _text(fields: Fields, key: str) -> str:
    value = fields.get(key, "")
    return value if isinstance(value, str) else ""


def _kept_by_nobody(told: dict[str, Any]) -> JSONResponse:
    """Source of the headers: RFC 6749, 5.1."""
    return JSONResponse(told, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})
