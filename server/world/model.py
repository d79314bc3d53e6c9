"""What a seed file comes to."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..domain.inventory import HostNode

if TYPE_CHECKING:
    from ...runtime.drivers.simulated import Rule
    from .file import PoolBody, ProjectBody, UnitBody


@dataclass(frozen=True, slots=True)
class World:
    """
    The default is that of a server without a seed file.

    Args:
        seed: of everything random.
        has_host: this machine's own node is in it. On a runtime that executes it always is.
    """

    seed: int = 0
    has_host: bool = True
    nodes: tuple[HostNode, ...] = ()
    rules: "tuple[Rule, ...]" = ()
    pools: "tuple[PoolBody, ...]" = ()
    departments: "tuple[UnitBody, ...]" = ()
    projects: "tuple[ProjectBody, ...]" = ()


def load_world(path: Path | None, *, overcommit: float) -> World:
    """
    Args:
        path: of the seed file; None: there is none.
        overcommit: of nodes that name none, by which CPU and memory may be promised beyond what there is.

    Raises:
        Invalid: names the line and the field.
    """
    if path is None:
        return World()
    from .file import world_of  # a server without such a file does not pay for reading one
    from .reading import read_yaml

    return world_of(read_yaml(path, flag="--seed"), overcommit=overcommit)
