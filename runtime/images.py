"""Which registry an image comes from, as Docker reads image names."""

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
