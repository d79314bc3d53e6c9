"""What several of the org unit routes need."""

from ....domain.org import Org
from ....errors import Invalid, NotFound
from ....services import org, org_usage
from ....services.org_usage import UsageByQueue
from ..call import Call


def cluster_id(call: Call) -> str:
    return org.get_cluster_id(call.ctx.services)


def check_cluster(call: Call, named: str, field: str = "clusterId") -> None:
    """There is one cluster, which every request that names one has to mean."""
    if named != cluster_id(call):
        raise Invalid(field, f"{named!r} is no cluster; the only one is {cluster_id(call)}")


def cluster_in_path(call: Call) -> str:
    """
    Raises:
        NotFound: the path is about another cluster.
    """
    known = cluster_id(call)
    if call.params["cluster_uuid"] != known:
        raise NotFound("cluster", call.params["cluster_uuid"], among=known)
    return known


def units(call: Call) -> Org:
    return org.get_org(call.ctx.services)


def usage(call: Call) -> UsageByQueue:
    return org_usage.usage_now(call.ctx.services)
