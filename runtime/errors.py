"""What the machine can refuse. `code` is stable; the sentence may improve."""

from typing import ClassVar


class DriverError(Exception):
    """Base class. `is_retryable` tells "try again" from "will not help by itself"."""

    code: ClassVar[str] = "driver_error"
    is_retryable: ClassVar[bool] = False


class ImagePullFailed(DriverError):
    """The image is not on this machine and could not be pulled."""

    code = "image_pull_failed"

    def __init__(self, image: str, detail: str) -> None:
        super().__init__(f"cannot pull {image!r}: {detail}")
        self.image = image


class LaunchRefused(DriverError):
    """The engine took the request and refused it: a missing command, a bad option."""

    code = "launch_refused"


class DeviceGone(DriverError):
    """This engine cannot give the GPUs that were asked for."""

    code = "device_gone"


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
