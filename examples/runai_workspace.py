"""
A workspace that is opened by its URL: `homeport exec -- python examples/runai_workspace.py --help`.

With a notebook: --image jupyter/base-notebook --command start-notebook.sh --port 8888
--args "--NotebookApp.base_url=/\\${RUNAI_PROJECT}/\\${RUNAI_JOB_NAME} --NotebookApp.token=''"

Needs `runapy` 1.224. Reads RUNAI_BASE_URL, RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET, which `homeport exec`
sets, so it runs against the real service as well.
"""

import argparse
import os
import sys
import time
import urllib.error
import urllib.request

from runai import models
from runai.api_client import ApiClient
from runai.configuration import Configuration
from runai.runai_client import RunaiClient

# A page below the path that the URL leads to; `$1` is the port, `$2` that path.
PAGE = 'p=$PWD/www$2; mkdir -p "$p"; echo "hello from $RUNAI_JOB_NAME" > "$p/index.html"; '
WHERE = "/${RUNAI_PROJECT}/${RUNAI_JOB_NAME}"
SERVE = f"-c '{PAGE} exec busybox httpd -f -p $1 -h $PWD/www' page"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a workspace and read the page at its URL.")
    parser.add_argument("--image", default="busybox:stable")
    parser.add_argument("--name", default="page")
    parser.add_argument("--project", default="local")
    parser.add_argument("--port", type=int, default=8888, help="of the container (default: %(default)s)")
    parser.add_argument("--command", default="sh")
    parser.add_argument("--args", default="", help="default: those of a small page")
    parser.add_argument("--keep", action="store_true", help="leave it running")
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
    by = [f"name=={asked.project}"]
    project = client.organizations.projects.get_projects(filter_by=by).data["projects"][0]
    request = models.WorkspaceCreationRequest.from_dict(
        {
            "name": asked.name,
            "useGivenNameAsPrefix": True,
            "projectId": project["id"],
            "clusterId": cluster["uuid"],
            "spec": {
                "image": asked.image,
                "command": asked.command,
                "args": asked.args or f"{SERVE} {asked.port} {WHERE}",
                "exposedUrls": [{"container": asked.port, "toolType": "custom", "toolName": "page"}],
            },
        }
    )
    made = client.workloads.workspaces.create_workspace1(request).data
    workload = made["workloadId"]
    url = client.workloads.workloads.get_workload(workload).data["urls"][0]
    print(f"{made['name']}: {url}", flush=True)
    page = ""
    while not page:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                page = answer.read().decode()
        except (urllib.error.URLError, ConnectionError):  # it has not begun to listen
            if client.workloads.workloads.get_workload(workload).data["phase"] == "Failed":
                return 1
            time.sleep(0.2)  # noqa: TID251
    print(page.strip()[:200])
    if not asked.keep:
        client.workloads.workspaces.delete_workspace(workload)
    return 0


if __name__ == "__main__":
    sys.exit(main())
