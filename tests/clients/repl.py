"""Runs inside a client's own environment: takes lines of JSON, executes them with a real APIClient."""

import importlib
import json
import os
import sys
import traceback

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the client prints must not mix with the answers


def main() -> None:
    import leptonai

    version = tuple(int(part) for part in leptonai.__version__.split(".")[:2])
    generation = "v2" if version >= (0, 30) else "v1"
    names: dict[str, object] = {"generation": generation}
    for module in ("common", "secret", "job", "deployment", "affinity", "replica"):
        found = importlib.import_module(f"leptonai.api.{generation}.types.{module}")
        names |= {name: getattr(found, name) for name in dir(found) if not name.startswith("_")}
    classes = {
        # The user's client of that version; and the one that its CLI is built on.
        "client": importlib.import_module(f"leptonai.api.{generation}.client").APIClient,
        "cli_client": importlib.import_module("leptonai.api.v2.client").APIClient,
    }
    clients: dict[tuple[str, str], dict[str, object]] = {}
    for line in sys.stdin:
        ask = json.loads(line)
        url, token = ask["url"], ask["token"]
        if (url, token) not in clients:  # a later server may get the port of an earlier one
            ask_for = {"workspace_id": "local", "auth_token": token, "url": url}
            clients[url, token] = {name: made(**ask_for) for name, made in classes.items()}
        scope = names | ask["values"] | clients[url, token] | {"result": None}
        try:
            exec(ask["code"], scope)
            answer = {"ok": plain(scope["result"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def plain(value: object) -> object:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if hasattr(value, "dict"):
        return json.loads(value.json())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return value


main()
