"""The table of settings that users read is the one that the code has."""

import re
from pathlib import Path

import pytest

from homeport.server.errors import Invalid
from homeport.server.serving import listen
from homeport.server.settings import Settings, load_settings

TABLE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_once() -> None:
    told = re.findall(r"^\| (HOMEPORT_\w+) \|", TABLE.read_text(), re.MULTILINE)
    assert sorted(told) == sorted(f"HOMEPORT_{name.upper()}" for name in Settings.model_fields)


@pytest.mark.parametrize(
    ("flags", "variables", "words"),
    [
        pytest.param({"port": 99999}, {}, "--port: must be less than or equal to 65535", id="flag"),
        pytest.param({}, {"METRICS_DAYS": "0"}, "HOMEPORT_METRICS_DAYS: must be greater", id="variable"),
        pytest.param({}, {"TLS": "maybe"}, "HOMEPORT_TLS: must be a valid boolean", id="boolean"),
        pytest.param({}, {"ALLOW_HOST": "foo"}, "HOMEPORT_ALLOW_HOST: is no JSON list", id="list"),
        pytest.param({}, {"DATA_DIR": ""}, "HOMEPORT_DATA_DIR: is empty", id="no-directory"),
        pytest.param({"host": ""}, {}, "--host: is empty", id="every-address-by-mistake"),
        pytest.param({"port": 65535}, {}, "--gateway-port: --port is the last", id="no-port-after-it"),
        pytest.param(
            {"port": 9801, "gateway_port": 9801},
            {},
            "--gateway-port: 9801 is",
            id="one-port-for-two",
        ),
    ],
)
def test_setting_that_cannot_be_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, object], variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"HOMEPORT_{name}", value)
    with pytest.raises(Invalid) as refused:
        load_settings(**flags)
    assert str(refused.value).startswith(words)


def test_address_that_is_not_this_machines_is_told_as_the_host() -> None:
    with pytest.raises(Invalid, match=r"^--host: cannot listen on 192\.0\.2\.1:0: "):
        listen(Settings(host="192.0.2.1", port=0))
