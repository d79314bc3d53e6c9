"""What an ask is told to ask for."""

import pytest

from homeport.scheduler.explain import wants
from tests.unit.asks import ask


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({}, "asks for 1 GPU(s), ", id="alone"),
        pytest.param({"members": 2}, "asks for 2 members, each with 1 GPU(s), ", id="a-gang"),
        pytest.param({"is_extra": True}, "asks for one more member, with 1 GPU(s), ", id="of-one-that-runs"),
    ],
)
def test_it_is_told_whether_a_workload_or_a_member_of_it_waits(fields: dict[str, object], told: str) -> None:
    assert wants(ask(1, **fields)) == told + "1 CPU core(s), 512 MiB memory"
