"""Volumes, storage permissions and secrets."""

from typing import Any

from ....domain.volumes import StoragePermission, Volume, VolumeSource
from ....errors import Invalid, NotImplementedYet
from ....store.secrets import Secret
from .. import wire_storage as wire

# Spelling as in leptonai 0.47.1, api.v2.types.dedicated_node_group.VolumeFrom.
SOURCES = {"local": VolumeSource.NODE_LOCAL, "nfs": VolumeSource.NODE_NFS}
WORDS = {source: word for word, source in SOURCES.items()}
OWN_FIELDS = {"from_", "from", "name", "size_in_gb", "creation_mode", "from_path"}


def volume_to_domain(node_group: str, volume: wire.Volume) -> Volume:
    if volume.from_ not in SOURCES:
        raise NotImplementedYet(f"volumes from {volume.from_!r}")
    raw = volume.model_dump(exclude_unset=True)
    return Volume(
        node_group=node_group,
        name=volume.name,
        source=SOURCES[volume.from_],
        from_path=volume.from_path or "",
        size_gb=volume.size_in_gb,
        creation_mode=volume.creation_mode or "",
        extras={k: v for k, v in raw.items() if k not in OWN_FIELDS},
    )


def volume_to_wire(volume: Volume) -> dict[str, Any]:
    wired: dict[str, Any] = {
        **volume.extras, "from": WORDS[volume.source], "name": volume.name, "size_in_gb": volume.size_gb,
    }  # fmt: skip
    if volume.creation_mode:
        wired["creation_mode"] = volume.creation_mode
    if volume.from_path:
        wired["from_path"] = volume.from_path
    if volume.is_builtin:
        wired["managed_by_lepton"] = True  # the clients then do not offer to delete it
    return wired


def permission_to_domain(volume: str, permission: wire.StoragePermission) -> StoragePermission:
    return StoragePermission(
        node_group=permission.nodegroup_id,
        volume=volume,
        path_prefix=permission.path_prefix,
        allowed_users=tuple(dict.fromkeys(permission.allowed_users)),
        is_by_user=permission.subfolder_policy == "by_user",
    )


def permission_to_wire(rule: StoragePermission) -> dict[str, Any]:
    return {
        "path_prefix": rule.path_prefix,
        "allowed_users": list(rule.allowed_users),
        "subfolder_policy": "by_user" if rule.is_by_user else "",
        "nodegroup_id": rule.node_group,
    }


def secret_to_domain(workspace: str, owner: str, item: wire.SecretItem) -> tuple[Secret, str]:
    """The secret and its value; private unless the request says otherwise, as `lep` does."""
    if item.value is None:
        raise Invalid("value", f"secret {item.name!r} needs a value")
    secret = Secret(workspace, item.name, owner, item.visibility or "private", tuple(item.tags or ()))
    return secret, item.value


def secret_to_wire(secret: Secret) -> dict[str, Any]:
    return {
        "name": secret.name, "owner": secret.owner, "visibility": secret.visibility,
        "tags": list(secret.tags),
    }  # fmt: skip
