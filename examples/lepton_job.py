"""
A job from Python on chosen nodes: `homeport exec -- python examples/lepton_job.py --help`.

Needs `leptonai`, of any version that Homeport serves. Reads LEPTON_WORKSPACE_ID, LEPTON_WORKSPACE_TOKEN and
LEPTON_WORKSPACE_URL, which `homeport exec` sets, so it runs against the real service as well.
"""

import argparse
import time

try:  # leptonai up to 0.27
    from leptonai.api.v1.client import APIClient
    from leptonai.api.v1.types.affinity import LeptonResourceAffinity
    from leptonai.api.v1.types.common import Metadata
    from leptonai.api.v1.types.deployment import EnvVar, LeptonContainer, Mount, ReservationConfig
    from leptonai.api.v1.types.job import LeptonJob, LeptonJobUserSpec
except ImportError:  # today's
    from leptonai.api.v2.client import APIClient
    from leptonai.api.v2.types.affinity import LeptonResourceAffinity
    from leptonai.api.v2.types.common import Metadata
    from leptonai.api.v2.types.deployment import EnvVar, LeptonContainer, Mount, ReservationConfig
    from leptonai.api.v2.types.job import LeptonJob, LeptonJobUserSpec

ENDS = ("Completed", "Failed", "Stopped", "Archived")


def main() -> None:
    options = parse()
    client = APIClient()

    # A group is found by its name; everything else wants its id.
    groups = {group.metadata.name: group.metadata.id_ for group in client.nodegroup.list_all()}
    if options.node_group not in groups:
        raise SystemExit(f"no node group {options.node_group!r}; there are {', '.join(groups)}")
    group = groups[options.node_group]
    nodes = [node.metadata.id_ for node in client.nodegroup.list_nodes(group)]

    spec = LeptonJobUserSpec(
        resource_shape=options.shape,
        affinity=LeptonResourceAffinity(
            allowed_dedicated_node_groups=[group], allowed_nodes_in_node_group=nodes
        ),
        container=LeptonContainer(image=options.image, command=["/bin/bash", "-c", options.command]),
        completions=options.workers,
        parallelism=options.workers,
        envs=[EnvVar(name="GREETING", value="hello")],
        mounts=[mount(text) for text in options.mount],
        image_pull_secrets=options.image_pull_secret,
        reservation_config=(
            ReservationConfig(reservation_id=options.reservation) if options.reservation else None
        ),
    )
    made = client.job.create(LeptonJob(metadata=Metadata(id=options.name), spec=spec))
    job = made.metadata.id_
    print(f"job: {job}")

    while (state := client.job.get(job).status.state.value) not in ENDS:
        time.sleep(0.5)  # noqa: TID251
    for replica in client.job.get_replicas(job):
        print(f"replica: {replica.metadata.id_} on {replica.status.node.id_}")
        print("".join(client.job.get_log(job, replica.metadata.id_)), end="")
    print(f"state: {state}")
    raise SystemExit(0 if state == "Completed" else 1)


def mount(text: str) -> Mount:
    path, target, volume = text.split(":", 2)
    return Mount(**{"path": path, "mount_path": target, "from": volume})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a job on the nodes of one node group.")
    parser.add_argument("--name", default="from-python")
    parser.add_argument("--node-group", default="default", help="its name")
    parser.add_argument("--shape", default="cpu.small", help="`lep node resource-shape` lists them")
    parser.add_argument("--image", default="python:3.11")
    parser.add_argument("--command", default="echo $GREETING from worker $LEPTON_JOB_WORKER_INDEX")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--mount", action="append", default=[], metavar="PATH:MOUNT_PATH:VOLUME",
        help="for example /team:/data:node-nfs:lepton-shared-fs",
    )  # fmt: skip
    parser.add_argument("--image-pull-secret", action="append", default=[], metavar="NAME")
    parser.add_argument("--reservation", metavar="ID", help="made by `homeport reservation add ID`")
    return parser.parse_args()


if __name__ == "__main__":
    main()
