"""What the machine can refuse. `code` is stable; the sentence may improve."""

from collections.abc import Collection
from enum import Enum
from typing import ClassVar


class DriverError(Exception):
    """Base class. `is_retryable` tells "try again" from "will not help by itself"."""

    code: ClassVar[str] = "driver_error"
    is_retryable: ClassVar[bool] = False


class PullFailure(Enum):
    """What a failed pull needs."""

    DENIED = "denied"  # a login, or another one; some registries say so of a missing image, too
    LIMITED = "limited"  # time: the registry has had too many requests
    MISSING = "missing"  # another name or tag
    INVALID = "invalid"  # a name that can be one
    UNREACHABLE = "unreachable"  # a registry at that address
    SILENT = "silent"  # a registry that answers
    PLAIN_HTTP = "plain_http"  # an engine that may speak HTTP to it
    UNTRUSTED = "untrusted"  # an engine that trusts its certificate
    OTHER = "other"


class ImagePullFailed(DriverError):
    """
    The image is not on this machine and could not be pulled.

    Args:
        detail: what the registry or the engine says, without a secret.
        logins: names of the logins that it was said to; empty without one.
    """

    code = "image_pull_failed"

    def __init__(
        self,
        image: str,
        detail: str,
        failure: PullFailure = PullFailure.OTHER,
        logins: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"cannot pull {image!r}: {detail}")
        self.image, self.detail, self.failure, self.logins = image, detail, failure, logins


class LaunchRefused(DriverError):
    """The engine took the request and refused it: a missing command, a bad option."""

    code = "launch_refused"


class PortTaken(LaunchRefused):
    """Somebody else has a port of the host that was asked for."""

    code = "port_taken"

    def __init__(self, host_ports: Collection[int], host: str, detail: str) -> None:
        names = ", ".join(map(str, sorted(host_ports))) or "asked for"
        super().__init__(f"host port {names} is taken on {host} ({detail})")
        self.host_ports = frozenset(host_ports)


class ExecRefused(DriverError):
    """No command can be run beside this container's own: it does not run, or its runtime runs nothing."""

    code = "exec_refused"


class DeviceGone(DriverError):
    """This engine cannot give the GPUs that were asked for."""

    code = "device_gone"


class NodeLost(DriverError):
    """The node that it was placed on is gone; elsewhere it may be started."""

    code = "node_lost"

    def __init__(self, node: str) -> None:
        super().__init__(f"node {node} is down")
        self.node = node


class RuntimeUnavailable(DriverError):
    """The engine does not answer. Says nothing about the containers on it."""

    code = "runtime_unavailable"
    is_retryable = True

    def __init__(self, runtime: str, detail: str) -> None:
        super().__init__(f"{runtime} does not answer: {detail}")
        self.runtime = runtime


class MountRejected(DriverError):
    """A mount that would leave its root, or that this runtime cannot make."""

    code = "mount_rejected"

    def __init__(self, target: str, detail: str) -> None:
        super().__init__(f"mount at {target}: {detail}")
        self.target = target
