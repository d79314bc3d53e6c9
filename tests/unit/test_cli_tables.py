"""What commands print of what the server answers."""

from typing import Any

from homeport.server.cli.nodes import gpus, promised
from homeport.server.cli.queue import shares_table, show_shares


def share(queue: str, **bounds: dict[str, float]) -> dict[str, Any]:
    """Of a project, without bounds where none is named."""
    none, some = {"gpus": None, "cpu": None, "memory_mib": None}, {"gpus": 1, "cpu": 2.5, "memory_mib": 4096}
    each = ("fair", "allocated", "allocated_non_preemptible", "requested")
    told = {"kind": "project", "queue": queue, "pool": "default", **dict.fromkeys(each, some)}
    return told | {name: none | bounds.get(name, {}) for name in ("deserved", "limit")}


def test_cpu_and_memory_are_shown_only_of_what_has_a_quota_or_a_limit_of_them() -> None:
    lines = show_shares([share("free"), share("bound", limit={"cpu": 4.0}, deserved={"memory_mib": 1048576})])
    tables = [block.splitlines() for block in "\n".join(lines).split("\n\n")]
    assert [(rows[0].split("  ")[0], [row.split()[0] for row in rows[1:]]) for rows in tables] == [
        ("GPUS OF", ["free", "bound"]),
        ("CPU CORES OF", ["bound"]),
        ("MEMORY OF (MIB)", ["bound"]),
    ]
    assert tables[1][1].split() == ["bound", "default", "all", "4", *["2.5"] * 4]
    assert tables[2][1].split() == ["bound", "default", "1048576", "none", *["4096"] * 4]


def test_parts_of_a_gpu_are_told_to_four_places() -> None:
    held = share("a") | {"allocated": {"gpus": 5.207836914, "cpu": 0.1, "memory_mib": 96.0}}
    assert shares_table([held], "gpus", "OF").splitlines()[1].split()[5] == "5.2078"


def test_department_is_told_from_a_project_of_its_name() -> None:
    assert "research (department)" in shares_table([share("research") | {"kind": "department"}], "gpus", "OF")


def test_node_shows_what_may_be_promised_beside_what_it_has_where_they_differ() -> None:
    assert promised(64, 64.0) == "64"
    assert promised(1024, 64) == "1024 promised of 64"
    assert promised(384.0, 24.0, " GiB") == "384 promised of 24 GiB"


def test_node_tells_what_of_its_gpus_is_taken_and_ill() -> None:
    told = {"gpus": 8, "gpus_taken": 2.5, "gpus_ill": 1, "gpus_simulated": True}
    assert gpus(told) == "2.5 of 8 taken, 1 ill, simulated"
    assert gpus(told | {"gpus_ill": 0, "gpus_simulated": False}) == "2.5 of 8 taken"
    assert gpus(told | {"gpus": 0}) == "0"
