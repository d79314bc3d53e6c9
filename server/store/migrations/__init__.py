"""
Older database files brought forward by Alembic, which is imported only for one that is behind.

`versions/` holds a step per schema. tables.py is what the newest one must come to; a test compares both.
"""

import sqlite3
from pathlib import Path

from alembic.command import upgrade as run_steps
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from ...errors import StoreRefused


def upgrade(engine: Engine, path: Path, found: str, wanted: str) -> Path:
    """
    All steps in one transaction, after a copy of the file was made. Returns the copy.

    Raises:
        StoreRefused: the file is newer than this Homeport.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if found not in known:
        raise StoreRefused(
            f"{path} has schema {found}, this Homeport knows up to {wanted}: "
            "install the version that made it, or use another --data-dir"
        )
    copy = path.with_name(f"{path.name}.{found}")
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        run_steps(config, wanted)
    return copy
