"""The app in this process, over the simulated runtime, with its clock in the test's hand."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from homeport.runtime.drivers.simulated import Rule
from homeport.server.testing import InProcessHome, open_in_process

JOBS = "/api/v2/workspaces/local/jobs"


@dataclass
class Api:
    """`client` bears the token; `anybody` bears none."""

    at: InProcessHome
    client: httpx.AsyncClient
    anybody: httpx.AsyncClient

    async def submit(self, name: str = "job", **spec: Any) -> dict[str, Any]:
        container = {"image": "any:1", "command": ["true"]}
        body = {
            "metadata": {"id": name},
            "spec": {"resource_shape": "cpu.small", "container": container} | spec,
        }
        answer = await self.client.post(JOBS, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"{JOBS}/{job_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def phase(self, job_id: str) -> str:
        found = self.at.home.services.store.reads.get("local", job_id)
        assert found is not None
        return found.phase.value

    async def becomes(self, job_id: str, phase: str) -> None:
        await self.at.until(f"{job_id} is {phase}", lambda: self.phase(job_id) == phase)


@asynccontextmanager
async def open_api(data_dir: Path, rules: tuple[Rule, ...] = (), **flags: object) -> AsyncGenerator[Api]:
    async with open_in_process(data_dir, rules=rules, **flags) as at:
        transport = httpx.ASGITransport(at.home.asgi, raise_app_exceptions=False)
        base = "http://127.0.0.1"
        bearer = {"Authorization": f"Bearer {at.token}"}
        async with (
            httpx.AsyncClient(transport=transport, base_url=base, headers=bearer) as client,
            httpx.AsyncClient(transport=transport, base_url=base) as anybody,
        ):
            yield Api(at, client, anybody)
