"""What every use case is given; `app.py` makes the one there is."""

from collections.abc import Callable
from dataclasses import dataclass

from ...runtime.clock import Clock
from ..domain.inventory import HostNode, Shape, shapes_of
from ..domain.volumes import HostFolders
from ..store.secret_box import SecretBox
from ..store.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """`poke` wakes the reconcile loop."""

    store: Store
    clock: Clock
    nodes: tuple[HostNode, ...]
    poke: Callable[[], None]
    folders: HostFolders
    secret_box: SecretBox

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return shapes_of(self.nodes)
