"""What every use case is given; `app.py` makes the one there is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...runtime.clock import Clock
from ...runtime.container_options import ContainerOptions, Refusal
from ..domain.inventory import HostNode, Shape, shapes_of
from ..domain.volumes import HostFolders
from ..store.secret_box import SecretBox
from ..store.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """
    Args:
        nodes: what the machine says of itself; `org.nodes_now` has them as people have labelled them.
        poke: wakes the reconcile loop.
        unhealthy: why, by UUID, a GPU is given no new work now.
        down_nodes: nodes that cannot be reached now.
        refusal: what of it this machine's runtime can give no container; None: it can give all.
        memo: what services keep so as not to work it out for each request, by its kind.
    """

    store: Store
    clock: Clock
    nodes: tuple[HostNode, ...]
    poke: Callable[[], None]
    folders: HostFolders
    secret_box: SecretBox
    unhealthy: Callable[[], Mapping[str, str]] = dict[str, str]
    down_nodes: Callable[[], frozenset[str]] = frozenset
    refusal: Callable[[ContainerOptions], Refusal | None] = lambda _inside: None
    memo: dict[type, object] = field(default_factory=dict[type, object], compare=False, repr=False)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Made once: of a thousand nodes it takes as long as many requests."""
        found = self.memo.get(Shape)
        if found is None:
            found = self.memo[Shape] = shapes_of(self.nodes)
        assert isinstance(found, tuple)
        return found
