"""What a PATCH changes of a job. It is a JSON merge patch: what is absent stays, null takes away."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from ....domain.workload import WorkloadSpec
from ....errors import Invalid
from .. import wire
from ..merge import merge_patch
from ..refusals import refusal
from .foreign import metadata_to_wire, spec_to_wire

# All else is fixed once a job is made, as the template of a Kubernetes job is: it would have to begin anew.
# These are told with the name that the domain has for them.
OF_SPEC = {
    "ttl_seconds_after_finished": "ttl_s",
    "max_failure_retry": "worker_retries",
    "max_job_failure_retry": "run_retries",
}
OF_METADATA = ("labels", "visibility")
FIXED_METADATA = ("id", "name", "owner", "created_by")
APART = ("stopped", "queue_config")  # wishes with rules of their own; see the route


def is_known(patch: Mapping[str, Any]) -> bool:
    """Whether it speaks of anything that can change."""
    spec, metadata = _part(patch, "spec"), _part(patch, "metadata")
    said_null = spec.get("stopped", False) is None and set(spec) == {"stopped"}
    return bool({*OF_SPEC, *APART} & spec.keys() or set(OF_METADATA) & metadata.keys()) and not said_null


def check_fixed(patch: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """
    Clients may send the whole job back, so what is as it was is no change.

    Args:
        shown: the job as it is told.

    Raises:
        Invalid: it would change what is fixed.
    """
    asked, now = _part(patch, "spec"), shown["spec"]
    before, after = _whole(now), _whole(merge_patch(now, asked))
    for name in asked.keys() - {*OF_SPEC, *APART}:
        if before.get(name) != after.get(name) and (before.get(name) or after.get(name)):
            raise Invalid(
                f"spec.{name}",
                "cannot change once a job is made; make another, for instance with `lep job clone`",
            )
    for name, value in _part(patch, "metadata").items():
        if name in FIXED_METADATA and value is not None and value != shown["metadata"].get(name):
            raise Invalid(f"metadata.{name}", "cannot change once a job is made; labels and visibility can")


def patched(spec: WorkloadSpec, patch: Mapping[str, Any]) -> WorkloadSpec:
    """With what `OF_SPEC` and `OF_METADATA` name, once `check_fixed` has seen the patch."""
    asked = {name: value for name, value in _part(patch, "spec").items() if name in OF_SPEC}
    said = {name: value for name, value in _part(patch, "metadata").items() if name in OF_METADATA}
    changed: dict[str, Any] = {OF_SPEC[name]: value for name, value in asked.items()}
    for name in ("worker_retries", "run_retries"):
        if name in changed:
            changed[name] = changed[name] or 0
    extras = dict(spec.extras)
    if asked:
        extras["spec"] = merge_patch(spec_to_wire(spec), asked)
    if said:
        extras["metadata"] = merge_patch(metadata_to_wire(spec), said)
        if "visibility" in said:
            changed["is_private"] = said["visibility"] == "private"
    return replace(spec, **changed, extras=extras)


def _part(patch: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return patch.get(name) or {}


def _whole(spec: Mapping[str, Any]) -> dict[str, Any]:
    """With what is meant by what is absent."""
    try:
        return wire.JobSpec.model_validate(spec).model_dump(by_alias=True)
    except ValidationError as error:
        raise refusal(error, "spec") from error
