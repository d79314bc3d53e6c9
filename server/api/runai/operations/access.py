"""Who may do what, and who is told. Source: as in `__init__.py`."""

from ._table import Operation, area, delete, get, patch, post, put

USERS = (
    "username", "createdBy", "lastLogin", "creationTime", "lastUpdated", "isLocal",
)  # fmt: skip
USERS_SORTS = (
    "username", "createdBy", "lastLogin", "creationTime", "lastUpdated", "type",
)  # fmt: skip
ACCESS_RULES = (
    "subjectId", "subjectType", "roleId", "scopeId", "scopeType", "roleName", "scopeName", "createdAt",
    "deletedAt", "createdBy", "phase",
)  # fmt: skip
AUDIT = (
    "timestamp", "subject", "subject_type", "source_ip", "action", "http_method", "result", "url",
    "entity_type", "entity_name", "entity_id",
)  # fmt: skip
AUDIT_FILTERS = (
    "timestamp", "subject", "subject_type", "source_ip", "action", "result", "url", "entity_type",
    "entity_name", "cluster_name",
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    *area(
        "tokens",
        post("/api/v1/token", test="test_token_is_granted_for_each_grant_there_is"),
        post("/api/v2/token", test="test_token_of_the_form_and_of_the_older_path_is_as_good"),
        post("/v1/k8s/auth/oauth/apptoken", test="test_token_of_the_form_and_of_the_older_path_is_as_good"),
    ),
    *area(
        "users",
        post("/api/v1/me/password"),
        get("/api/v1/users", filters=USERS, sorts=USERS_SORTS),
        post("/api/v1/users", 201),
        get("/api/v1/users/count", filters=USERS),
        delete("/api/v1/users/{user_id}"),
        get("/api/v1/users/{user_id}"),
        post("/api/v1/users/{user_id}/logout"),
        post("/api/v1/users/{user_id}/password"),
    ),
    *area(
        "access-rules",
        get("/api/v1/authorization/access-rules", fields=ACCESS_RULES),
        post("/api/v1/authorization/access-rules", 201),
        post("/api/v1/authorization/access-rules/batch"),
        post("/api/v1/authorization/access-rules/batch-create"),
        get("/api/v1/authorization/access-rules/count", filters=ACCESS_RULES),
        delete("/api/v1/authorization/access-rules/{access_rule_id}"),
        get("/api/v1/authorization/access-rules/{access_rule_id}"),
    ),
    *area(
        "access-keys",
        get("/api/v1/access-keys"),
        post("/api/v1/access-keys", 201),
        delete("/api/v1/access-keys/{access_key_id}"),
        get("/api/v1/access-keys/{access_key_id}"),
        post("/api/v1/access-keys/{access_key_id}/secret"),
        get("/api/v1/administration/access-keys"),
        delete("/api/v1/administration/access-keys/{access_key_id}"),
    ),
    *area(
        "applications",
        get("/api/v1/apps"),
        post("/api/v1/apps", 201),
        delete("/api/v1/apps/{app_id}"),
        get("/api/v1/apps/{app_id}"),
        patch("/api/v1/apps/{app_id}"),
        post("/api/v1/apps/{app_id}/secret"),
    ),
    *area(
        "service-accounts",
        get("/api/v1/service-accounts"),
        post("/api/v1/service-accounts", 201),
        delete("/api/v1/service-accounts/{service_account_id}"),
        get("/api/v1/service-accounts/{service_account_id}"),
        patch("/api/v1/service-accounts/{service_account_id}"),
        post("/api/v1/service-accounts/{service_account_id}/secret"),
    ),
    *area(
        "user-applications",
        get("/api/v1/administration/user-applications"),
        delete("/api/v1/administration/user-applications/{app_id}"),
        get("/api/v1/user-applications"),
        post("/api/v1/user-applications", 201),
        delete("/api/v1/user-applications/{app_id}"),
        get("/api/v1/user-applications/{app_id}"),
        post("/api/v1/user-applications/{app_id}/secret"),
    ),
    *area(
        "roles",
        get("/api/v1/authorization/roles"),
        get("/api/v1/authorization/roles/{role_id_path}"),
    ),
    *area(
        "permissions",
        get("/api/v1/authorization/permissions"),
        post("/api/v1/authorization/permitted-scopes"),
    ),
    *area(
        "me",
        get("/api/v1/authorization/me/access-rules"),
        get("/api/v1/authorization/me/access-rules/count"),
    ),
    *area(
        "idps",
        get("/api/v1/idps"),
        post("/api/v1/idps", 201),
        delete("/api/v1/idps/{idp}", 200),
        get("/api/v1/idps/{idp}"),
        put("/api/v1/idps/{idp}"),
        get("/api/v1/idps/{idp}/mappers"),
        put("/api/v1/idps/{idp}/mappers", 202),
    ),
    *area(
        "audit",
        get("/api/v1/audit/log", sorts=AUDIT, filters=AUDIT_FILTERS),
        get("/api/v1/audit/log/file", filters=AUDIT_FILTERS),
    ),
    *area(
        "notification-types",
        get("/api/v1/notification-types"),
    ),
    *area(
        "notification-channels",
        get("/api/v1/notification-channels"),
        post("/api/v1/notification-channels"),
        post("/api/v1/notification-channels/slack/create-app"),
        delete("/api/v1/notification-channels/{name}"),
        get("/api/v1/notification-channels/{name}"),
        patch("/api/v1/notification-channels/{name}"),
        put("/api/v1/notification-channels/{name}"),
        post("/api/v1/validate-notification-channel"),
    ),
    *area(
        "notification-state",
        get("/api/v1/notification-state"),
        patch("/api/v1/notification-state"),
    ),
    *area(
        "subscriptions",
        get("/api/v1/subscriptions"),
        post("/api/v1/subscriptions"),
        delete("/api/v1/subscriptions/{id}"),
        put("/api/v1/subscriptions/{id}"),
    ),
)
