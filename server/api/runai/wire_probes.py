"""Probes as they come. Source of the spelling: the models of runapy 1.224.0 (Probes, Probe, ProbeHandler)."""

from typing import Literal

from pydantic import Field

from .wire_items import INT32, Wire


class HttpGet(Wire):
    path: str = Field(default="/", pattern=r"^(/[a-zA-Z0-9\-_./]*)?$")
    port: int | None = Field(default=None, ge=1, le=65535)
    host: str | None = None
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class Handler(Wire):
    http_get: HttpGet | None = None


class Probe(Wire):
    """Numbers that are not given are Kubernetes' own."""

    initial_delay_seconds: int = Field(default=0, ge=0, le=INT32)
    period_seconds: int = Field(default=10, ge=1, le=INT32)
    timeout_seconds: int = Field(default=1, ge=1, le=INT32)
    success_threshold: int = Field(default=1, ge=1, le=INT32)
    failure_threshold: int = Field(default=3, ge=1, le=INT32)
    handler: Handler = Handler()


class Probes(Wire):
    readiness: Probe | None = None
