"""The table of settings that users read is the one that the code has."""

import re
from pathlib import Path

from homeport.server.settings import Settings

TABLE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_once() -> None:
    told = re.findall(r"^\| (HOMEPORT_\w+) \|", TABLE.read_text(), re.MULTILINE)
    assert sorted(told) == sorted(f"HOMEPORT_{name.upper()}" for name in Settings.model_fields)
