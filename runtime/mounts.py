"""A mount request becomes an open directory that is proved to lie inside its root."""

import contextlib
import errno
import os
import stat
from collections import deque
from pathlib import Path

from .errors import MountRejected

MAX_LINKS = 40  # as the kernel's own walk
MAX_DEPTH = 128  # each level holds a descriptor while we walk
MAX_PATH_BYTES = 4096
TRIES = 16  # something else makes and removes the same name while we walk
# O_PATH needs no permission to read and touches no device; macOS lacks it.
_OPEN = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_ROOT = _OPEN & ~os.O_NOFOLLOW


def open_inside(root: Path, path: str, *, target: str = "") -> int:
    """
    A descriptor of the directory `path` below `root`; both are made when missing.

    Every step is one openat() from the descriptor before it that follows no link,
    so whoever swaps a directory for a link meanwhile cannot lead the walk outside.
    Links inside are followed by hand: only relative ones that stay inside. The
    root itself is trusted and may be a link.

    Args:
        target: what the error names; `path` when empty.

    Raises:
        MountRejected: the path leaves its root, is no directory or cannot be made.
    """
    walk = _Walk(target or path)
    try:
        return walk.to(root, names_below(path, walk.target))
    except OSError as error:
        raise MountRejected(walk.target, f"{path!r} cannot be opened: {error.strerror}") from error
    finally:
        walk.close()


class _Walk:
    """The descriptors from the root down to where we are: `..` of a link goes back along them."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._stack: list[int] = []

    def to(self, root: Path, parts: list[str]) -> int:
        root.mkdir(parents=True, exist_ok=True)
        self._stack.append(os.open(root, _OPEN_ROOT))
        todo, links = deque(parts), 0
        while todo:
            name = todo.popleft()
            if name == "..":  # only links bring these in
                if len(self._stack) == 1:
                    raise MountRejected(self.target, "a link leads out of the mount's root")
                os.close(self._stack.pop())
                continue
            if len(self._stack) > MAX_DEPTH:
                raise MountRejected(self.target, f"deeper than {MAX_DEPTH} directories")
            link = self._enter(name)
            if link is None:
                continue
            links += 1
            if links > MAX_LINKS:
                raise MountRejected(self.target, f"more than {MAX_LINKS} links")
            if link.startswith("/"):
                raise MountRejected(self.target, f"the link {name!r} is absolute, so it may lead outside")
            todo.extendleft(reversed(_split(link)))
        return self._stack.pop()

    def _enter(self, name: str) -> str | None:
        """Go down into `name`, making it if need be; or what it points to, where it is a link."""
        here = self._stack[-1]
        for _ in range(TRIES):
            try:
                self._stack.append(os.open(name, _OPEN, dir_fd=here))
                return None
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=here)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                # What readlink says is walked like any other path, so it need not be the same link still.
                with contextlib.suppress(FileNotFoundError):
                    try:
                        return os.readlink(name, dir_fd=here)
                    except OSError as not_a_link:
                        if not_a_link.errno != errno.EINVAL:
                            raise
                        if self._is_other(name, here):
                            raise MountRejected(self.target, f"{name!r} is not a directory") from error
        raise MountRejected(self.target, f"{name!r} is being changed by somebody else at this moment")

    def _is_other(self, name: str, here: int) -> bool:
        mode = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode
        return not (stat.S_ISDIR(mode) or stat.S_ISLNK(mode))

    def close(self) -> None:
        while self._stack:
            os.close(self._stack.pop())


def names_below(path: str, target: str) -> list[str]:
    """The names in `path`; refused where it could leave what it starts from."""
    try:
        size = len(os.fsencode(path))
    except UnicodeEncodeError as error:
        raise MountRejected(target, "the path is not valid text") from error
    if "\0" in path:
        raise MountRejected(target, "the path holds a NUL byte")
    if size > MAX_PATH_BYTES:
        raise MountRejected(target, f"the path is longer than {MAX_PATH_BYTES} bytes")
    names = _split(path)
    if ".." in names:
        raise MountRejected(target, f"'..' is not allowed in {path!r}")
    return names


def _split(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]
