"""
A training on a part of a GPU: `homeport exec -- python examples/runai_training.py --help`.

Needs `runapy` 1.224. Reads RUNAI_BASE_URL, RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET, which `homeport exec`
sets, so it runs against the real service as well.
"""

import argparse
import os
import sys
import time

from runai import models
from runai.api_client import ApiClient
from runai.configuration import Configuration
from runai.runai_client import RunaiClient

ENDED = ("Completed", "Failed")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run one training and tell how it goes.")
    parser.add_argument("--image", default="busybox:stable")
    parser.add_argument("--name", default="hello")
    parser.add_argument("--project", default="local")
    parser.add_argument("--portion", type=float, default=0.5, help="of one GPU (default: %(default)s)")
    parser.add_argument("--command", default="sh -c 'echo hello from $RUNAI_JOB_NAME; sleep 1'")
    asked = parser.parse_args()
    client = RunaiClient(
        ApiClient(
            Configuration(
                client_id=os.environ["RUNAI_CLIENT_ID"],
                client_secret=os.environ["RUNAI_CLIENT_SECRET"],
                runai_base_url=os.environ["RUNAI_BASE_URL"],
            )
        )
    )
    cluster = client.organizations.clusters.get_clusters().data[0]
    project = client.organizations.projects.get_projects(filter_by=[f"name=={asked.project}"]).data[
        "projects"
    ][0]
    request = models.TrainingCreationRequest.from_dict(
        {
            "name": asked.name,
            "useGivenNameAsPrefix": True,
            "projectId": project["id"],
            "clusterId": cluster["uuid"],
            "spec": {
                "image": asked.image,
                "command": asked.command,
                "compute": {"gpuDevicesRequest": 1, "gpuPortionRequest": asked.portion},
                "backoffLimit": 0,
            },
        }
    )
    training = client.workloads.trainings.create_training1(request).data
    workload, phase = training["workloadId"], ""
    while phase not in ENDED:
        now = client.workloads.workloads.get_workload(workload).data
        if now["phase"] != phase:
            phase = now["phase"]
            print(f"{training['name']}: {phase} {now.get('phaseMessage', '')}".rstrip(), flush=True)
        time.sleep(0.2)  # noqa: TID251
    for pod in client.workloads.pods.get_workload_pods(workload).data["pods"]:
        print(f"{pod['name']}: {pod['k8sPhase']}")
    events = client.workloads.events.get_workload_events(workload, sort_order="asc").data["events"]
    print(" -> ".join(event["reason"] for event in events))
    client.workloads.trainings.delete_training(workload)
    return 0 if phase == "Completed" else 1


sys.exit(main())
