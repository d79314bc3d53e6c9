"""Prints docs/coverage.md: every operation of the clients, and the test that observes it."""

from .operations import OPERATIONS


def page() -> str:
    served = sum(o.test is not None for o in OPERATIONS)
    rows = [f"| {o.area} | {o.method} | `{o.path or '/'}` | {o.test or '501'} |" for o in OPERATIONS]
    head = ["# Coverage", "", f"Lepton: {served} of {len(OPERATIONS)} operations are served.", ""]
    return "\n".join([*head, "| area | method | path | test |", "|---|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    print(page(), end="")
