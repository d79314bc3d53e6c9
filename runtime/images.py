"""Image names as Docker reads them: whether they are any, and which registry an image comes from."""

import re

HUB = "docker.io"
# Source: moby, registry/config.go (IndexServer) and `docker login` without a server.
HUB_NAMES = frozenset({HUB, "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"})


def normal_server(server: str) -> str:
    """One spelling per registry: lower case, and one name for Docker Hub."""
    low = server.lower()
    return HUB if low in HUB_NAMES else low


def registry_of(image: str) -> str:
    """
    `host[:port]` of the registry that `image` is pulled from.

    The first part is a host only where it cannot be a user of Docker Hub: it has a dot
    or a colon, or is `localhost`. Source: distribution/reference, splitDockerDomain.
    """
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return normal_server(first) if is_host else HUB


# Source: distribution/reference, regexp.go and reference.go (the grammar at its top).
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
MAX_NAME = 255  # without tag and digest
FORM = "[HOST[:PORT]/]PATH[:TAG][@DIGEST]"


def flaw_of(image: str) -> str:
    """Why no registry can have an image of that name, "" where one may."""
    if any(c.isspace() or not c.isprintable() for c in image):
        return "holds a space or a control character"
    if "://" in image:
        return "begins with a scheme; leave it out"
    named, at, digest = image.partition("@")
    if at and _DIGEST.fullmatch(digest) is None:
        return f"{digest!r} is no digest such as sha256: and 64 hexadecimal digits"
    path, host = named, ""
    first, slash, rest = named.partition("/")
    # A first part in upper case is a host to newer engines, and is left to them.
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        path, host = rest, first
    path, colon, tag = path.partition(":")
    if host and _HOST.fullmatch(host) is None:
        return f"{host!r} is no HOST or HOST:PORT"
    if colon and _TAG.fullmatch(tag) is None:
        return f"{tag!r} is no tag: at most 128 letters, digits, '_', '.' and '-', the last two not first"
    if len(host) + len(path) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if path.lower() != path:
        return f"{path!r} has capital letters; a path has none"
    if _PATH.fullmatch(path) is None:
        return f"{path!r} is no path of letters, digits and single '.', '_' or '-' between them"
    return ""
