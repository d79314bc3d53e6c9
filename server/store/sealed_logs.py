"""The whole log of an attempt that has ended, as a file that outlives its container."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path


class SealedLogs:
    """A file under its final name is complete; while it is written it has another name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, replica_id: str, number: int) -> Path:
        return self._folder / f"{replica_id}-{number}.log"

    async def seal(self, replica_id: str, number: int, log: AsyncIterator[bytes]) -> None:
        target = self.path(replica_id, number)
        if target.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".part")
        with draft.open("wb") as file:
            async for chunk in log:
                file.write(chunk)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        draft.replace(target)
