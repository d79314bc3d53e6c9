"""What a container has for itself (empty directories, secrets as files, a home), and who it is there."""

from dataclasses import dataclass

SECRET_FILE = "value"  # a secret of Homeport holds one value


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """
    A directory that is empty when a container starts, anybody's in it to write, and gone with it.

    Args:
        target: absolute path in the container.
        size_mib: limit; it holds in memory only, where without one the container's own memory is the limit.
    """

    target: str
    is_in_memory: bool = False
    size_mib: int | None = None


@dataclass(frozen=True, slots=True)
class SecretVolume:
    """
    A secret as a file, `SECRET_FILE`, with the value of the moment at which the container starts.

    Args:
        target: absolute path of its directory in the container, which cannot be written to.
        mode: permissions of the file, which is owned by who the container runs as.
    """

    target: str
    secret: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Security:
    """
    Args:
        uid: that its command runs as; None: the image decides. gid: None: what the image says of that user.
        groups: further ones that it belongs to, by number.
        is_never_root: it is not started where that user would be root.
        has_fixed_root: its root file system cannot be written to; what is mounted can.
        capabilities: that it has beyond those of any container, without `CAP_`.
        may_gain_privileges: its programs may get more than who starts them has (setuid); None: as ever.
    """

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    is_never_root: bool = False
    has_fixed_root: bool = False
    capabilities: tuple[str, ...] = ()
    may_gain_privileges: bool | None = None

    @property
    def owner(self) -> tuple[int, int]:
        """User and group to whom belongs what is made for it."""
        return self.uid or 0, self.gid or 0


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """
    Args:
        home: a directory of `empty_dirs` that is HOME; "" leaves that alone.
        has_tty: its command has a terminal, so that its errors and its output are one stream.
    """

    security: Security = Security()
    empty_dirs: tuple[EmptyDir, ...] = ()
    secrets: tuple[SecretVolume, ...] = ()
    home: str = ""
    has_tty: bool = False


NOTHING = ContainerOptions()


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    What a runtime cannot give.

    Args:
        part: a name of a field of `ContainerOptions`, or of `Security`.
        why: in words, with the remedy.
    """

    part: str
    why: str
