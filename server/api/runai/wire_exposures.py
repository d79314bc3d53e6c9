"""
Ways to a workload's ports as they come. Source of the spelling: the models of runapy 1.224.0
(ExposedUrl, Port, AuthorizationType, PortServiceType).
"""

from typing import Literal

from pydantic import Field

from .wire_items import Item


class ExposedUrl(Item):
    container: int | None = Field(default=None, ge=1, le=65535)
    url: str | None = None
    authorization_type: Literal["authenticatedUsers", "authorizedUsers", "authorizedGroups"] | None = None
    authorized_users: list[str] = []
    authorized_groups: list[str] = []
    tool_type: str | None = None
    tool_name: str | None = None
    name: str | None = Field(default=None, min_length=1)


class ContainerPort(Item):
    """Pods of one workload reach each other's ports as they are."""

    container: int | None = Field(default=None, ge=1, le=65535)
    service_type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "ClusterIP"
    external: int | None = Field(default=None, ge=1024, le=65535)
    tool_type: str | None = None
    tool_name: str | None = None
    name: str | None = None
