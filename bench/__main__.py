"""`python -m bench [--json] [--check] [NAME ...]`: all of them, or those named."""

import importlib
import sys

from .figures import show

NAMES = (
    "startup", "launch", "reads", "submits", "clients", "logs", "memory",
    "gateway", "streams", "changes", "wake", "takeover", "placements", "jobs",
)  # fmt: skip


def main() -> None:
    flags = [a for a in sys.argv[1:] if a.startswith("-")]
    names = [a for a in sys.argv[1:] if a not in flags] or list(NAMES)
    if unknown := sorted(set(names) - set(NAMES)):
        sys.exit(f"no bench named {', '.join(unknown)}; there are {', '.join(NAMES)}")
    show([importlib.import_module(f"bench.{name}").measure for name in names], flags)


if __name__ == "__main__":
    main()
