"""Downloads and shims of the vendor's command lines. Source: as in `__init__.py`."""

from ._table import Operation, area, get

OPERATIONS: tuple[Operation, ...] = (
    *area(
        "cli",
        get("/api/v1/cli-exposer/dist/{operating_system}/{architecture}/runai"),
        get("/api/v1/cli-exposer/docs/{document_name}"),
        get("/api/v1/cli-exposer/installer/linux"),
        get("/api/v1/cli-exposer/installer/linux/commands"),
        get("/api/v1/cli-exposer/installer/mac"),
        get("/api/v1/cli-exposer/installer/mac/commands"),
        get("/api/v1/cli-exposer/installer/unix"),
        get("/api/v1/cli-exposer/installer/unix/commands"),
        get("/api/v1/cli-exposer/installer/windows/commands"),
    ),
    *area(
        "cli-old",
        get("/api/v1/cli/dist/{operating_system}/{architecture}/runai"),
        get("/api/v1/cli/docs/{document_name}"),
        get("/api/v1/cli/installer/linux"),
        get("/api/v1/cli/installer/linux/commands"),
        get("/api/v1/cli/installer/mac"),
        get("/api/v1/cli/installer/mac/commands"),
        get("/api/v1/cli/installer/unix"),
        get("/api/v1/cli/installer/unix/commands"),
        get("/api/v1/cli/installer/windows/commands"),
    ),
    *area(
        "admin-cli",
        get("/v1/k8s/admin-cli/{os}"),
        get("/v1/k8s/admin-cli/{os}/checksum"),
        get("/v1/k8s/admin-cli/{version}/{os}"),
        get("/v1/k8s/admin-cli/{version}/{os}/checksum"),
    ),
)
