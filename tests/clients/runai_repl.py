"""Runs inside runapy's own environment: takes lines of JSON, executes them with its real clients."""

import asyncio
import inspect
import json
import os
import sys
import traceback
from datetime import date

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the client prints must not mix with the answers


def main() -> None:
    from runai import models
    from runai.api_client import ApiClient, AsyncApiClient, ThreadedApiClient
    from runai.configuration import Configuration
    from runai.runai_client import RunaiClient

    kinds = {"sync": ApiClient, "threaded": ThreadedApiClient, "async": AsyncApiClient}
    loop = asyncio.new_event_loop()

    def done(call: object) -> object:
        """What the call has come to, whichever client made it: an ApiResponse."""
        if inspect.isawaitable(call):
            return loop.run_until_complete(call)
        return call.get(timeout=60) if hasattr(call, "get") and hasattr(call, "ready") else call

    clients: dict[str, object] = {}
    for line in sys.stdin:
        ask = json.loads(line)
        key = json.dumps([ask["configuration"], ask["kind"]], sort_keys=True)
        try:
            if key not in clients:
                clients[key] = kinds[ask["kind"]](Configuration(**ask["configuration"]))
            api_client = clients[key]
            scope = {
                "client": RunaiClient(api_client), "api_client": api_client, "models": models, "done": done,
                "Configuration": Configuration, "RunaiClient": RunaiClient, "kinds": kinds, "result": None,
                **ask["values"],
            }  # fmt: skip
            scope["client"].__class__.__del__ = lambda self: None  # it would close what others still use
            exec(ask["code"], scope)
            answer = {"ok": plain(scope["result"])}
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
            answer = told | {name: getattr(error, name, None) for name in ("status", "data")}
        print(json.dumps(answer), file=answers, flush=True)


def plain(value: object) -> object:
    if hasattr(value, "status_code") and hasattr(value, "data"):
        return {"status": value.status_code, "data": value.data}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    return value


main()
