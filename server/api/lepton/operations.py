"""Every operation that the leptonai clients can send: what is served names the test that observes it.

Source: leptonai 0.22.9, 0.26.4, 0.27.3 and 0.47.1, all methods of their API classes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` is relative to the workspace URL. `test` None: answered with a typed 501."""

    area: str
    method: str
    path: str
    test: str | None = None


OPERATIONS: tuple[Operation, ...] = (
    Operation("workspace", "GET", "", "test_login_saves_the_workspace_with_its_name_and_expiry"),
    Operation("workspace", "GET", "/tokens", "test_login_saves_the_workspace_with_its_name_and_expiry"),
    Operation("workspace", "GET", "/workspace", "test_workspace_tells_each_version_what_it_needs"),
    Operation(
        "nodes",
        "GET",
        "/dedicated-node-groups",
        "test_node_group_is_listed_with_its_nodes_shapes_and_volumes",
    ),
    Operation(
        "nodes",
        "GET",
        "/dedicated-node-groups/{node_group}",
        "test_node_group_is_listed_with_its_nodes_shapes_and_volumes",
    ),
    Operation(
        "nodes",
        "GET",
        "/dedicated-node-groups/{node_group}/nodes",
        "test_node_group_is_listed_with_its_nodes_shapes_and_volumes",
    ),
    Operation(
        "nodes",
        "GET",
        "/dedicated-node-groups/{node_group}/machines",
        "test_node_group_is_shown_with_its_nodes_and_machines",
    ),
    Operation(
        "nodes",
        "GET",
        "/dedicated-node-groups/{node_group}/reservations",
        "test_reserved_node_takes_only_what_names_the_reservation",
    ),
    Operation("nodes", "GET", "/shapes", "test_node_group_is_listed_with_its_nodes_shapes_and_volumes"),
    Operation(
        "storage-admin",
        "POST",
        "/dedicated-node-groups/{node_group}/volumes",
        "test_volume_is_added_listed_and_deleted_with_its_contents_kept",
    ),
    Operation(
        "storage-admin",
        "DELETE",
        "/dedicated-node-groups/{node_group}/volumes/{volume}",
        "test_volume_is_added_listed_and_deleted_with_its_contents_kept",
    ),
    Operation("storage-admin", "GET", "/dedicated-node-groups/{node_group}/datasources"),
    Operation("storage-admin", "POST", "/dedicated-node-groups/{node_group}/datasources"),
    Operation("storage-admin", "GET", "/dedicated-node-groups/{node_group}/datasources/{name}"),
    Operation("storage-admin", "PATCH", "/dedicated-node-groups/{node_group}/datasources/{name}"),
    Operation("storage-admin", "DELETE", "/dedicated-node-groups/{node_group}/datasources/{name}"),
    Operation(
        "storage-admin",
        "GET",
        "/storage-permission/{volume}",
        "test_storage_permissions_are_added_listed_and_deleted",
    ),
    Operation(
        "storage-admin",
        "POST",
        "/storage-permission/{volume}",
        "test_storage_permissions_are_added_listed_and_deleted",
    ),
    Operation(
        "storage-admin",
        "DELETE",
        "/storage-permission/{volume}{path_prefix}",
        "test_storage_permissions_are_added_listed_and_deleted",
    ),
    Operation("secrets", "GET", "/usersecrets", "test_secret_comes_back_as_it_was_set_without_its_value"),
    Operation("secrets", "POST", "/usersecrets", "test_secret_comes_back_as_it_was_set_without_its_value"),
    Operation(
        "secrets", "DELETE", "/usersecrets/{name}", "test_secret_comes_back_as_it_was_set_without_its_value"
    ),
    Operation("secrets", "GET", "/secrets", "test_api_v0_shares_jobs_and_secrets_with_the_later_generations"),
    Operation(
        "secrets", "POST", "/secrets", "test_api_v0_shares_jobs_and_secrets_with_the_later_generations"
    ),
    Operation(
        "secrets",
        "DELETE",
        "/secrets/{name}",
        "test_api_v0_shares_jobs_and_secrets_with_the_later_generations",
    ),
    Operation("jobs", "GET", "/jobs", "test_list_filters_of_each_version_choose_the_same_jobs"),
    Operation("jobs", "POST", "/jobs", "test_job_comes_back_as_it_was_set"),
    Operation("jobs", "GET", "/jobs/{id}", "test_job_runs_to_completed_with_its_log"),
    Operation("jobs", "PATCH", "/jobs/{id}", "test_every_client_changes_a_job_that_runs"),
    Operation("jobs", "DELETE", "/jobs/{id}", "test_older_sdk_follows_a_job_from_creation_to_archive"),
    Operation("jobs", "GET", "/jobs/{id}/events", "test_job_runs_to_completed_with_its_log"),
    Operation("jobs", "GET", "/jobs/{id}/replicas", "test_older_sdk_follows_a_job_from_creation_to_archive"),
    Operation("jobs", "GET", "/jobs/{id}/replicas/{replica}/log", "test_job_runs_to_completed_with_its_log"),
    Operation("logs", "GET", "/logs", "test_history_is_cut_by_time_text_limit_and_direction"),
    Operation("logs", "GET", "/logs/timeseries", "test_time_series_counts_lines"),
    Operation("deployments", "GET", "/deployments", "test_endpoint_of_an_older_client_is_the_newer_ones_too"),
    Operation("deployments", "POST", "/deployments", "test_older_client_leads_an_endpoint_through_its_life"),
    Operation(
        "deployments", "GET", "/deployments/{name}", "test_older_client_leads_an_endpoint_through_its_life"
    ),
    Operation(
        "deployments", "PATCH", "/deployments/{name}", "test_older_client_leads_an_endpoint_through_its_life"
    ),
    Operation(
        "deployments", "DELETE", "/deployments/{name}", "test_older_client_leads_an_endpoint_through_its_life"
    ),
    Operation(
        "deployments",
        "PUT",
        "/deployments/{name}/restart",
        "test_older_client_leads_an_endpoint_through_its_life",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/readiness",
        "test_endpoint_that_never_listens_is_not_ready_and_says_so",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/termination",
        "test_crash_is_told_with_its_exit_code_and_tried_again",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/replicas",
        "test_older_client_leads_an_endpoint_through_its_life",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/replicas/{replica}/log",
        "test_older_client_leads_an_endpoint_through_its_life",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/events",
        "test_older_client_leads_an_endpoint_through_its_life",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/monitoring/FastAPIQPS",
        "test_traffic_is_told_by_path_to_each_client_that_asks",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/monitoring/FastAPIQPSByPath",
        "test_traffic_is_told_by_path_to_each_client_that_asks",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/monitoring/FastAPILatency",
        "test_traffic_is_told_by_path_to_each_client_that_asks",
    ),
    Operation(
        "deployments",
        "GET",
        "/deployments/{name}/monitoring/FastAPILatencyByPath",
        "test_traffic_is_told_by_path_to_each_client_that_asks",
    ),
    Operation("endpoints", "GET", "/endpoints", "test_endpoint_from_the_command_line_is_ready_and_goes"),
    Operation("endpoints", "POST", "/endpoints", "test_endpoint_from_the_command_line_is_ready_and_goes"),
    Operation(
        "endpoints", "GET", "/endpoints/{name}", "test_endpoint_from_the_command_line_is_ready_and_goes"
    ),
    Operation("endpoints", "PATCH", "/endpoints/{name}", "test_changed_environment_replaces_the_replica"),
    Operation(
        "endpoints", "DELETE", "/endpoints/{name}", "test_endpoint_from_the_command_line_is_ready_and_goes"
    ),
    Operation("endpoints", "PUT", "/endpoints/{name}/restart", "test_restart_replaces_the_replica"),
    Operation("endpoints", "GET", "/endpoints/{name}/replicas", "test_log_of_an_endpoint_is_followed_live"),
    Operation(
        "endpoints",
        "GET",
        "/endpoints/{name}/replicas/{replica}/log",
        "test_log_of_an_endpoint_is_followed_live",
    ),
    Operation(
        "endpoints",
        "GET",
        "/endpoints/{name}/events",
        "test_endpoint_from_the_command_line_is_ready_and_goes",
    ),
    Operation("devpods", "GET", "/devpods", "test_pod_is_made_listed_and_removed_from_the_command_line"),
    Operation("devpods", "POST", "/devpods", "test_pod_is_made_listed_and_removed_from_the_command_line"),
    Operation(
        "devpods", "GET", "/devpods/{name}", "test_pod_is_made_listed_and_removed_from_the_command_line"
    ),
    Operation(
        "devpods", "PATCH", "/devpods/{name}", "test_host_port_leads_to_the_pod_and_outlives_stop_and_restart"
    ),
    Operation(
        "devpods", "DELETE", "/devpods/{name}", "test_pod_is_made_listed_and_removed_from_the_command_line"
    ),
    Operation(
        "devpods",
        "PUT",
        "/devpods/{name}/restart",
        "test_restarted_pod_is_another_container_with_the_same_port",
    ),
    Operation(
        "ingress", "GET", "/ingress", "test_domain_from_the_command_line_is_listed_with_what_it_is_and_goes"
    ),
    Operation(
        "ingress", "POST", "/ingress", "test_domain_from_the_command_line_is_listed_with_what_it_is_and_goes"
    ),
    Operation(
        "ingress",
        "GET",
        "/ingress/{name}",
        "test_domain_from_the_command_line_is_listed_with_what_it_is_and_goes",
    ),
    Operation(
        "ingress", "PATCH", "/ingress/{name}", "test_shares_are_set_changed_and_removed_from_the_command_line"
    ),
    Operation(
        "ingress",
        "DELETE",
        "/ingress/{name}",
        "test_domain_from_the_command_line_is_listed_with_what_it_is_and_goes",
    ),
    Operation(
        "ingress", "POST", "/ingress/{name}/endpoint/deployment", "test_each_sdk_adds_and_removes_an_endpoint"
    ),
    Operation(
        "ingress",
        "DELETE",
        "/ingress/{name}/endpoint/deployment/{deployment}",
        "test_each_sdk_adds_and_removes_an_endpoint",
    ),
    Operation("raycluster", "GET", "/rayclusters"),
    Operation("raycluster", "POST", "/rayclusters"),
    Operation("raycluster", "GET", "/rayclusters/{name}"),
    Operation("raycluster", "PATCH", "/rayclusters/{name}"),
    Operation("raycluster", "DELETE", "/rayclusters/{name}"),
    Operation("raycluster-dashboard", "GET", "/rayclusters/{name}/dashboard/api/version"),
    Operation("raycluster-dashboard", "GET", "/rayclusters/{name}/dashboard/api/jobs/"),
    Operation("raycluster-dashboard", "POST", "/rayclusters/{name}/dashboard/api/jobs/"),
    Operation("raycluster-dashboard", "GET", "/rayclusters/{name}/dashboard/api/jobs/{job_id}"),
    Operation("raycluster-dashboard", "POST", "/rayclusters/{name}/dashboard/api/jobs/{job_id}/stop"),
    Operation("raycluster-dashboard", "GET", "/rayclusters/{name}/dashboard/api/jobs/{job_id}/logs/tail"),
    Operation(
        "raycluster-dashboard", "GET", "/rayclusters/{name}/dashboard/api/packages/{protocol}/{package}"
    ),
    Operation(
        "raycluster-dashboard", "PUT", "/rayclusters/{name}/dashboard/api/packages/{protocol}/{package}"
    ),
    Operation("finetune", "GET", "/finetune/jobs"),
    Operation("finetune", "POST", "/finetune/jobs"),
    Operation("finetune", "GET", "/finetune/jobs/{id}"),
    Operation("finetune", "PATCH", "/finetune/jobs/{id}"),
    Operation("finetune", "DELETE", "/finetune/jobs/{id}"),
    Operation("finetune", "GET", "/finetune/supported-models"),
    Operation("finetune", "GET", "/finetune/trainers"),
    Operation("templates", "GET", "/templates/public"),
    Operation("templates", "GET", "/templates/private"),
    Operation("templates", "GET", "/templates/public/{id}"),
    Operation("templates", "GET", "/templates/private/{id}"),
    Operation("templates", "POST", "/templates/{ns}/{id}/render"),
    Operation("photons", "GET", "/photons/{ns}"),
    Operation("photons", "POST", "/photons/{ns}"),
    Operation("photons", "GET", "/photons/{ns}/{id}"),
    Operation("photons", "GET", "/photons/{ns}/{id}/content"),
    Operation("photons", "DELETE", "/photons/{ns}/{id}"),
    Operation("kv", "GET", "/kv/namespaces"),
    Operation("kv", "GET", "/kv/namespaces/{ns}"),
    Operation("kv", "POST", "/kv/namespaces/{ns}"),
    Operation("kv", "DELETE", "/kv/namespaces/{ns}"),
    Operation("kv", "GET", "/kv/namespaces/{ns}/keys"),
    Operation("kv", "GET", "/kv/namespaces/{ns}/values/{key}"),
    Operation("kv", "POST", "/kv/namespaces/{ns}/values/{key}"),
    Operation("kv", "DELETE", "/kv/namespaces/{ns}/values/{key}"),
    Operation("queue", "GET", "/queue"),
    Operation("queue", "POST", "/queue"),
    Operation("queue", "DELETE", "/queue/{name}"),
    Operation("queue", "GET", "/queue/{name}/length"),
    Operation("queue", "GET", "/queue/{name}/messages"),
    Operation("queue", "POST", "/queue/{name}/messages"),
    Operation("object_storage", "GET", "/object_storage/{bucket}"),
    Operation("object_storage", "GET", "/object_storage/{bucket}_or_presigned/{key}"),
    Operation("object_storage", "PUT", "/object_storage/{bucket}_presigned/{key}"),
    Operation("object_storage", "DELETE", "/object_storage/{bucket}/{key}"),
    Operation("storage", "GET", "/storage"),
    Operation("storage", "GET", "/storage/du"),
    Operation("storage", "GET", "/storage/{fs}{path}"),
    Operation("storage", "HEAD", "/storage/{fs}{path}"),
    Operation("storage", "PUT", "/storage/{fs}{path}"),
    Operation("storage", "POST", "/storage/{fs}{path}"),
    Operation("storage", "DELETE", "/storage/{fs}{path}"),
)
