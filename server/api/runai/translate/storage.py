"""Mounts of a pod: directories of the host, and claims, which are directories of Homeport's own."""

import re

from ....domain.volumes import CLAIM, LOCAL_DISK, MountRequest, clean_target, split_path
from ....errors import Invalid
from ..wire_workloads import Pvc, Storage

NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?")


def claim_name(claim: Pvc, workload: str, index: int) -> str:
    return claim.claim_name or f"{workload}-{index}"


def expected_claims(storage: Storage, workload: str) -> tuple[tuple[str, str], ...]:
    """Path of the field, and name, of each claim that is said to be there already."""
    return tuple(
        (f"spec.storage.pvc[{i}].claimName", claim_name(claim, workload, i))
        for i, claim in enumerate(storage.pvc)
        if claim.existing_pvc and not claim.exclude
    )


def mounts_of(storage: Storage, workload: str) -> tuple[tuple[str, MountRequest], ...]:
    """
    Each with the path of its field. A claim without a name is the workload's own.

    Raises:
        Invalid: nothing can be mounted there, or two are mounted at one place.
    """
    found: list[tuple[str, MountRequest]] = []
    for i, host in enumerate(storage.host_path):
        if not host.exclude:
            at = f"spec.storage.hostPath[{i}]"
            target = _target(f"{at}.mountPath", host.mount_path)
            found.append((f"{at}.path", MountRequest(LOCAL_DISK, host.path, target, host.read_only)))
    for i, claim in enumerate(storage.pvc):
        if not claim.exclude:
            at = f"spec.storage.pvc[{i}]"
            name = claim_name(claim, workload, i)
            if NAME.fullmatch(name) is None:
                raise Invalid(
                    f"{at}.claimName", f"{name!r} must be at most 63 of a-z, 0-9, '-' and '.', as a DNS name"
                )
            target = _target(f"{at}.path", claim.path)
            found.append((f"{at}.claimName", MountRequest(f"{CLAIM}{name}", "/", target, claim.read_only)))
    taken: dict[str, str] = {}
    for field, mount in found:
        if mount.target in taken:
            raise Invalid(
                field, f"{mount.target} is also where {taken[mount.target]} is mounted; use another"
            )
        taken[mount.target] = field
    return tuple(found)


def _target(field: str, path: str) -> str:
    try:
        split_path(path)
        return clean_target(path)
    except ValueError as error:
        raise Invalid(field, str(error)) from error
