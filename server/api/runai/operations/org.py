"""Clusters, node pools, nodes, org units and what belongs to the tenant. Source: as in `__init__.py`."""

from ._table import Operation, area, delete, get, patch, post, put

NODE_POOLS = (
    "name", "clusterId", "phase", "createdAt", "updatedAt", "gpuNetworkAccelerationDetection",
    "networkTopologyName", "gpuNetworkAccelerationDetected", "gpuNetworkAccelerationLabelKey",
    "swapEnabled", "nodeLevelSchedulerEnabled",
)  # fmt: skip
NODES = (
    "name", "status", "nodePool", "gpuType", "nvLinkDomainUid", "nvLinkCliqueId", "clusterUuid",
)  # fmt: skip
DEPARTMENTS = (
    "name", "clusterId", "totalGpuQuota", "gpuAllocated", "createdAt", "avgGpuAllocation24h",
    "avgGpuUtilization24h", "avgGpuMemoryUtilization24h", "avgGpuAllocation7d", "avgGpuUtilization7d",
    "avgGpuMemoryUtilization7d", "avgGpuAllocation30d", "avgGpuUtilization30d",
    "avgGpuMemoryUtilization30d",
)  # fmt: skip
PROJECTS = (
    "name", "clusterId", "departmentId", "parentId", "parentName", "phase", "totalGpuQuota",
    "gpuAllocated", "createdAt", "avgGpuAllocation24h", "avgGpuUtilization24h",
    "avgGpuMemoryUtilization24h", "avgGpuAllocation7d", "avgGpuUtilization7d",
    "avgGpuMemoryUtilization7d", "avgGpuAllocation30d", "avgGpuUtilization30d",
    "avgGpuMemoryUtilization30d",
)  # fmt: skip
REPORTS = (
    "name", "createdAt", "createdBy", "status",
)  # fmt: skip
NETWORK_TOPOLOGIES = (
    "name", "clusterId", "source", "phase",
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    *area(
        "clusters",
        get("/api/v1/clusters", test="test_each_client_gets_a_token_and_lists_the_one_cluster"),
        post("/api/v1/clusters", 201),
        delete("/api/v1/clusters/{cluster_uuid}"),
        get(
            "/api/v1/clusters/{cluster_uuid}", test="test_each_client_gets_a_token_and_lists_the_one_cluster"
        ),
        put("/api/v1/clusters/{cluster_uuid}", 204),
        get("/api/v1/clusters/{cluster_uuid}/cluster-install-info"),
        get("/api/v1/clusters/{cluster_uuid}/metrics"),
        get("/v1/k8s/clusters/{cluster_uuid}/installfile"),
        get("/v1/k8s/clusters/{cluster_uuid}/metrics"),
    ),
    *area(
        "node-pools",
        get("/api/v1/clusters/{cluster_uuid}/nodepools/{nodepool_name}/metrics"),
        get("/api/v1/node-pools", fields=NODE_POOLS, test="test_node_pool_is_created_changed_and_deleted"),
        post("/api/v1/node-pools", 201, test="test_node_pool_is_created_changed_and_deleted"),
        get(
            "/api/v1/node-pools/count",
            filters=NODE_POOLS,
            test="test_node_pool_is_created_changed_and_deleted",
        ),
        delete("/api/v1/node-pools/{nodepool_id}", test="test_node_pool_is_created_changed_and_deleted"),
        get("/api/v1/node-pools/{nodepool_id}", test="test_node_pool_is_created_changed_and_deleted"),
        patch("/api/v1/node-pools/{nodepool_id}", test="test_node_pool_is_created_changed_and_deleted"),
        put("/api/v1/node-pools/{nodepool_id}", test="test_node_pool_is_created_changed_and_deleted"),
        get("/v1/k8s/clusters/{cluster_id}/node-pools"),
        post("/v1/k8s/clusters/{cluster_id}/node-pools", 201),
        delete("/v1/k8s/clusters/{cluster_id}/node-pools/{id}", 202),
        put("/v1/k8s/clusters/{cluster_id}/node-pools/{id}", 202),
        put("/v1/k8s/clusters/{cluster_id}/node-pools/{id}/labels", 202),
    ),
    *area(
        "nodes",
        get(
            "/api/v1/clusters/{cluster_uuid}/nodes",
            fields=NODES,
            test="test_nodes_are_listed_counted_and_filtered",
        ),
        get(
            "/api/v1/clusters/{cluster_uuid}/nodes/count",
            filters=NODES,
            test="test_nodes_are_listed_counted_and_filtered",
        ),
        get("/api/v1/nodes", fields=NODES, test="test_nodes_are_listed_counted_and_filtered"),
        get("/api/v1/nodes/count", filters=NODES, test="test_nodes_are_listed_counted_and_filtered"),
        get("/api/v1/nodes/telemetry", test="test_node_telemetry_tells_what_there_is_by_pool_and_node"),
        get("/api/v1/nodes/{node_id}/metrics"),
    ),
    *area(
        "departments",
        get(
            "/api/v1/org-unit/departments",
            fields=DEPARTMENTS,
            test="test_commas_in_values_of_a_filter_stay_in_them",
        ),
        post(
            "/api/v1/org-unit/departments",
            201,
            test="test_department_has_its_projects_their_sums_and_rules_they_inherit",
        ),
        get(
            "/api/v1/org-unit/departments/count",
            filters=DEPARTMENTS,
            test="test_department_has_its_projects_their_sums_and_rules_they_inherit",
        ),
        get(
            "/api/v1/org-unit/departments/telemetry",
            test="test_department_has_its_projects_their_sums_and_rules_they_inherit",
        ),
        delete(
            "/api/v1/org-unit/departments/{department_id}",
            test="test_department_has_its_projects_their_sums_and_rules_they_inherit",
        ),
        get(
            "/api/v1/org-unit/departments/{department_id}",
            test="test_department_has_its_projects_their_sums_and_rules_they_inherit",
        ),
        put(
            "/api/v1/org-unit/departments/{department_id}",
            test="test_department_has_its_projects_their_sums_and_rules_they_inherit",
        ),
        get("/api/v1/org-unit/departments/{department_id}/metrics"),
        patch(
            "/api/v1/org-unit/departments/{department_id}/resources",
            test="test_department_has_its_projects_their_sums_and_rules_they_inherit",
        ),
        put(
            "/api/v1/org-unit/departments/{department_id}/resources",
            test="test_department_has_its_projects_their_sums_and_rules_they_inherit",
        ),
        get("/v1/k8s/clusters/{cluster_id}/departments"),
        put("/v1/k8s/clusters/{cluster_id}/departments/{department_id}/access-control", 201),
        get("/v1/k8s/clusters/{cluster_uuid}/departments/metrics"),
        get("/v1/k8s/clusters/{cluster_uuid}/departments/{department_id}/metrics"),
    ),
    *area(
        "projects",
        get("/api/v1/org-unit/projects", fields=PROJECTS, test="test_list_is_paged_by_offset_and_limit"),
        post("/api/v1/org-unit/projects", 201, test="test_project_is_created_read_changed_and_deleted"),
        get(
            "/api/v1/org-unit/projects/count",
            filters=PROJECTS,
            test="test_project_is_created_read_changed_and_deleted",
        ),
        get("/api/v1/org-unit/projects/telemetry", test="test_lone_enum_member_is_read_as_python_spells_it"),
        delete(
            "/api/v1/org-unit/projects/{project_id}", test="test_project_is_created_read_changed_and_deleted"
        ),
        get(
            "/api/v1/org-unit/projects/{project_id}", test="test_project_is_created_read_changed_and_deleted"
        ),
        put(
            "/api/v1/org-unit/projects/{project_id}", test="test_project_is_created_read_changed_and_deleted"
        ),
        get("/api/v1/org-unit/projects/{project_id}/metrics"),
        patch(
            "/api/v1/org-unit/projects/{project_id}/resources",
            test="test_resources_are_replaced_by_put_and_merged_by_patch",
        ),
        put(
            "/api/v1/org-unit/projects/{project_id}/resources",
            test="test_resources_are_replaced_by_put_and_merged_by_patch",
        ),
        get("/v1/k8s/clusters/{cluster_id}/projects"),
        post("/v1/k8s/clusters/{cluster_id}/projects"),
        delete("/v1/k8s/clusters/{cluster_id}/projects/{id}", 200),
        get("/v1/k8s/clusters/{cluster_id}/projects/{id}"),
        put("/v1/k8s/clusters/{cluster_id}/projects/{id}"),
        get("/v1/k8s/clusters/{cluster_uuid}/projects/metrics"),
        get("/v1/k8s/clusters/{cluster_uuid}/projects/{project_id}/metrics"),
    ),
    *area(
        "org-unit",
        get("/api/v1/org-unit/priorities", test="test_priorities_of_org_units_have_one_default"),
    ),
    *area(
        "tenant",
        get("/v1/k8s/setting"),
        put("/v1/k8s/setting"),
        get("/v1/k8s/setting/{setting_key}"),
    ),
    *area(
        "reports",
        get("/api/v1/org-unit/reports", fields=REPORTS),
        post("/api/v1/org-unit/reports", 202),
        get("/api/v1/org-unit/reports/availability"),
        get("/api/v1/org-unit/reports/count", filters=REPORTS),
        delete("/api/v1/org-unit/reports/{report_id}"),
        get("/api/v1/org-unit/reports/{report_id}"),
        get("/api/v1/org-unit/reports/{report_id}/file"),
    ),
    *area(
        "network-topologies",
        get("/api/v1/network-topologies", filters=NETWORK_TOPOLOGIES),
        post("/api/v1/network-topologies", 201),
        get("/api/v1/network-topologies/count", filters=NETWORK_TOPOLOGIES),
        delete("/api/v1/network-topologies/{network_topology_id}"),
        get("/api/v1/network-topologies/{network_topology_id}"),
    ),
    *area(
        "settings",
        get("/api/v1/security/settings"),
        get("/api/v1/security/settings/{key}"),
        put("/api/v1/security/settings/{key}"),
    ),
    *area(
        "logo",
        get("/api/v1/logo"),
        post("/api/v1/logo"),
    ),
)
