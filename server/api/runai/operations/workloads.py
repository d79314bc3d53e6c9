"""Workloads and what is seen of them. Source: as in `__init__.py`."""

from ._table import Operation, area, delete, get, patch, post, put

WORKLOADS = (
    "type", "name", "clusterId", "projectId", "projectName", "departmentId", "departmentName",
    "createdAt", "deletedAt", "submittedBy", "phase", "completedAt", "nodepool", "distributedFramework",
    "allocatedGPU", "idleGpus", "idleAllocatedGpus", "phaseUpdatedAt", "category",
    "totalPendingTimeSeconds", "totalRunningTimeSeconds", "priority", "priorityClassName",
    "guaranteedRuntimeEndsAt", "aiApplicationId", "aiApplicationName",
)  # fmt: skip
WORKLOAD_PROPERTIES = (
    "name", "source", "value",
)  # fmt: skip
WORKLOAD_PROPERTIES_FILTERS = (
    "name", "group",
)  # fmt: skip
PODS = (
    "clusterId", "workloadId", "revisionId", "nodeName", "currentNodepool", "createdAt", "completedAt",
    "deletedAt",
)  # fmt: skip
AI_APPLICATIONS = (
    "clusterId", "name", "projectId", "projectName", "source", "type",
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    *area(
        "trainings",
        post(
            "/api/v1/workloads/trainings",
            202,
            test="test_training_runs_to_its_end_with_all_that_it_was_given",
        ),
        delete(
            "/api/v1/workloads/trainings/{workload_id}",
            202,
            test="test_deleted_work_leaves_the_list_and_can_still_be_asked_for",
        ),
        get(
            "/api/v1/workloads/trainings/{workload_id}",
            test="test_training_runs_to_its_end_with_all_that_it_was_given",
        ),
        post(
            "/api/v1/workloads/trainings/{workload_id}/resume",
            202,
            test="test_resume_is_taken_while_it_still_stops",
        ),
        post(
            "/api/v1/workloads/trainings/{workload_id}/suspend",
            202,
            test="test_resume_is_taken_while_it_still_stops",
        ),
    ),
    *area(
        "workspaces",
        post("/api/v1/workloads/workspaces", 202, test="test_workspace_is_suspended_and_resumed"),
        delete(
            "/api/v1/workloads/workspaces/{workload_id}",
            202,
            test="test_each_type_is_suspended_resumed_and_deleted",
        ),
        get("/api/v1/workloads/workspaces/{workload_id}", test="test_workspace_is_suspended_and_resumed"),
        post(
            "/api/v1/workloads/workspaces/{workload_id}/resume",
            202,
            test="test_workspace_is_suspended_and_resumed",
        ),
        post(
            "/api/v1/workloads/workspaces/{workload_id}/suspend",
            202,
            test="test_workspace_is_suspended_and_resumed",
        ),
    ),
    *area(
        "distributed",
        post("/api/v1/workloads/distributed", 202, test="test_distributed_members_find_each_other_by_name"),
        delete(
            "/api/v1/workloads/distributed/{workload_id}",
            202,
            test="test_each_type_is_suspended_resumed_and_deleted",
        ),
        get(
            "/api/v1/workloads/distributed/{workload_id}",
            test="test_each_type_is_suspended_resumed_and_deleted",
        ),
        post(
            "/api/v1/workloads/distributed/{workload_id}/resume",
            202,
            test="test_each_type_is_suspended_resumed_and_deleted",
        ),
        post(
            "/api/v1/workloads/distributed/{workload_id}/suspend",
            202,
            test="test_each_type_is_suspended_resumed_and_deleted",
        ),
    ),
    *area(
        "inferences",
        post("/api/v1/workloads/inferences", 202, test="test_inference_answers_at_its_url_and_goes"),
        delete(
            "/api/v1/workloads/inferences/{workload_id}",
            202,
            test="test_inference_answers_at_its_url_and_goes",
        ),
        get("/api/v1/workloads/inferences/{workload_id}", test="test_inference_answers_at_its_url_and_goes"),
        patch("/api/v1/workloads/inferences/{workload_id}", 202, test="test_update_rolls_to_a_new_revision"),
        get(
            "/api/v1/workloads/inferences/{workload_id}/metrics",
            test="test_metrics_tell_how_many_requests_there_were_and_how_long_they_took",
        ),
        get("/api/v1/workloads/inferences/{workload_id}/pods/{pod_id}/metrics"),
    ),
    *area(
        "distributed-inferences",
        post("/api/v1/workloads/distributed-inferences", 202),
        delete("/api/v1/workloads/distributed-inferences/{workload_id}", 202),
        get("/api/v1/workloads/distributed-inferences/{workload_id}"),
        patch("/api/v1/workloads/distributed-inferences/{workload_id}", 202),
    ),
    *area(
        "nim",
        post("/api/v2/workloads/nim-services", 202),
        get("/api/v2/workloads/nim-services/{workload_v2_id}"),
        patch("/api/v2/workloads/nim-services/{workload_v2_id}", 202),
    ),
    *area(
        "workloads",
        get("/api/v1/workloads", fields=WORKLOADS, test="test_list"),
        get("/api/v1/workloads/count", filters=WORKLOADS, test="test_list"),
        get("/api/v1/workloads/telemetry", test="test_telemetry_counts_by_group"),
        get(
            "/api/v1/workloads/{workload_id}", test="test_training_runs_to_its_end_with_all_that_it_was_given"
        ),
        get(
            "/api/v1/workloads/{workload_id}/metrics",
            test="test_metrics_tell_what_was_held_and_that_the_rest_is_not_measured",
        ),
    ),
    *area(
        "workloads-batch",
        post("/api/v1/workloads/batch", test="test_batch_tells_of_each_what_became_of_it"),
    ),
    *area(
        "workloads-v2",
        post("/api/v2/workloads", 202),
        delete("/api/v2/workloads/{workload_v2_id}", 202),
        get("/api/v2/workloads/{workload_v2_id}"),
        put("/api/v2/workloads/{workload_v2_id}", 202),
    ),
    *area(
        "workload-properties",
        get("/api/v1/workload-categories", test="test_words_for_workloads_are_listed"),
        get("/api/v1/workload-categories/{category_id}", test="test_words_for_workloads_are_listed"),
        get(
            "/api/v1/workload-priorities",
            fields=WORKLOAD_PROPERTIES,
            test="test_words_for_workloads_are_listed",
        ),
        get(
            "/api/v1/workload-types",
            filters=WORKLOAD_PROPERTIES_FILTERS,
            test="test_words_for_workloads_are_listed",
        ),
        post("/api/v1/workload-types", 201),
        delete("/api/v1/workload-types/{workload_type_id}"),
        get("/api/v1/workload-types/{workload_type_id}", test="test_words_for_workloads_are_listed"),
        put("/api/v1/workload-types/{workload_type_id}"),
    ),
    *area(
        "pods",
        get(
            "/api/v1/workloads/inferences/revisions/{revision_id}/pods",
            test="test_update_rolls_to_a_new_revision",
        ),
        get("/api/v1/workloads/pods", fields=PODS, test="test_pods_of_all_workloads_are_listed_and_counted"),
        get(
            "/api/v1/workloads/pods/count",
            filters=PODS,
            test="test_pods_of_all_workloads_are_listed_and_counted",
        ),
        get("/api/v1/workloads/{workload_id}/pods", test="test_workspace_is_suspended_and_resumed"),
        get(
            "/api/v1/workloads/{workload_id}/pods/{pod_id}/metrics", test="test_metrics_of_a_pod_are_its_own"
        ),
    ),
    *area(
        "events",
        get("/api/v1/workloads/inferences/revisions/{revision_id}/events"),
        get("/api/v1/workloads/inferences/revisions/{revision_id}/history"),
        get("/api/v1/workloads/{workload_id}/events", test="test_evicted_work_waits_and_runs_again"),
        get("/api/v1/workloads/{workload_id}/history", test="test_workspace_is_suspended_and_resumed"),
    ),
    *area(
        "revisions",
        get(
            "/api/v1/workloads/inferences/revisions/{revision_id}",
            test="test_update_rolls_to_a_new_revision",
        ),
        get(
            "/api/v1/workloads/inferences/{workload_id}/revisions",
            test="test_update_rolls_to_a_new_revision",
        ),
        get(
            "/api/v1/workloads/inferences/{workload_id}/revisions/count",
            test="test_update_rolls_to_a_new_revision",
        ),
    ),
    *area(
        "ai-applications",
        get("/api/v1/ai-applications", fields=AI_APPLICATIONS),
        get("/api/v1/ai-applications/count", filters=AI_APPLICATIONS),
        get("/api/v1/ai-applications/{ai_application_id}"),
    ),
)
