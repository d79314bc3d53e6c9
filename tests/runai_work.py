"""Workloads of a server, through the real `runapy`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.runai import Runai
from tests.world import World, eventually

# A shell that waits, and ends at once when it is told to.
WAIT = "bash -c \"trap 'exit 0' TERM; while true; do sleep 0.1; done\""
CALLS = {
    "Training": ("trainings", "create_training1", "training", "TrainingCreationRequest"),
    "Workspace": ("workspaces", "create_workspace1", "workspace", "WorkspaceCreationRequest"),
    "Distributed": ("distributed", "create_distributed", "distributed", "DistributedCreationRequest"),
    "Inference": ("inferences", "create_inference1", "inference", "InferenceCreationRequest"),
}


@dataclass
class Work:
    """`kind`: which of the clients is used."""

    home: World
    runai: Runai
    kind: str = "sync"

    def data(self, expression: str, **values: Any) -> Any:
        """The JSON that one call of `client` answers."""
        return self.runai.data(self.home, expression, self.kind, **values)

    @cached_property
    def cluster(self) -> str:
        return self.data("organizations.clusters.get_clusters()")[0]["uuid"]

    def project(self, name: str = "local") -> str:
        """Its id."""
        found = self.data("organizations.projects.get_projects(filter_by=by)", by=[f"name=={name}"])
        return found["projects"][0]["id"]

    def submit(self, type_: str, name: str, *, project: str = "", **more: Any) -> dict[str, Any]:
        """The answer. `spec`: as on the wire, read by the client's own model."""
        group, method, _, model = CALLS[type_]
        spec = {"image": self.home.image} | more.pop("spec", {})
        body = {
            "name": name,
            "projectId": project or self.project(),
            "clusterId": self.cluster,
            "spec": spec,
        } | more
        return self.data(f"workloads.{group}.{method}(models.{model}.from_dict(body))", body=body)

    def train(self, name: str, command: str = WAIT, *, project: str = "", **spec: Any) -> str:
        """A training's id."""
        return self.submit("Training", name, project=project, spec={"command": command} | spec)["workloadId"]

    def typed(self, type_: str, action: str, workload: str) -> Any:
        """`action`: get, suspend, resume or delete."""
        group, _, word, _ = CALLS[type_]
        return self.data(f"workloads.{group}.{action}_{word}(id)", id=workload)

    def get(self, workload: str) -> dict[str, Any]:
        return self.data("workloads.workloads.get_workload(id)", id=workload)

    def found(self, *filters: str, **more: Any) -> list[dict[str, Any]]:
        found = self.data(
            "workloads.workloads.get_workloads(filter_by=by, **more)", by=list(filters), more=more
        )
        return found["workloads"]

    def names(self, *filters: str, **more: Any) -> list[str]:
        return [w["name"] for w in self.found(*filters, **more)]

    def pods(self, workload: str, **more: Any) -> Sequence[dict[str, Any]]:
        return self.data("workloads.pods.get_workload_pods(id, **more)", id=workload, more=more)["pods"]

    def events(self, workload: str) -> list[dict[str, Any]]:
        return self.data("workloads.events.get_workload_events(id)", id=workload)["events"]

    def phase(self, workload: str) -> str:
        return self.get(workload)["phase"]

    def becomes(self, workload: str, phase: str) -> None:
        seen: set[str] = set()

        def is_there() -> bool:
            seen.add(now := self.phase(workload))
            return now == phase

        eventually(f"{phase} of {workload}, which was {seen}", is_there)
