"""Requests about volumes, their permissions and secrets, spelt as leptonai 0.47.1 sends them."""

from typing import Literal

from pydantic import Field

from .wire import INT32, Wire


class Volume(Wire):
    from_: Literal["local", "nfs", "remote"] = Field(alias="from")
    name: str
    size_in_gb: int = Field(ge=0, le=INT32)
    creation_mode: str | None = None
    from_path: str | None = None


class StoragePermission(Wire):
    path_prefix: str
    allowed_users: list[str] = Field(default_factory=list)
    subfolder_policy: Literal["", "by_user"] = ""
    nodegroup_id: str


class SecretItem(Wire):
    name: str
    value: str | None = None
    tags: list[str] | None = None
    visibility: Literal["public", "private"] | None = None
