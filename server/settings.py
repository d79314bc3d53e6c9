"""Every setting: a flag of `serve` and a HOMEPORT_* variable, in one table (docs/settings.md)."""

import ipaddress
import json
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .crashpoints import parse_crash_at
from .domain.billing import parse_prices
from .errors import Invalid

# Read by other parts (tests, demo, the process runtime's workloads), not settings of the server.
OTHERS = frozenset({"HOMEPORT_LEP", "HOMEPORT_DEMO_IMAGE", "HOMEPORT_SIMULATED_GPU"})
LISTS = ("HOMEPORT_ALLOW_HOST", "HOMEPORT_ALLOW_HOST_PATH")


def default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "homeport"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HOMEPORT_", extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65535)
    gateway_port: int | None = Field(default=None, ge=0, le=65535)
    data_dir: Path = Field(default_factory=default_data_dir)
    runtime: Literal["auto", "docker", "process", "simulated"] = "auto"
    network_pool: str = "10.213.0.0/16"
    gpus: str = "auto"
    seed: Path | None = None
    allow_host: tuple[str, ...] = ()
    allow_host_path: tuple[Path, ...] = ()
    secret_key: SecretStr | None = None
    ephemeral: bool = False
    testing: bool = False
    crash_at: str | None = None
    lepton_new_deployment_api: bool = True
    lepton_secure_endpoint_defaults: bool = False
    runai_token_lifetime_s: int = Field(default=86400, ge=1)
    wake_on_request: bool = True
    warm_zero: bool = False
    overcommit: float = Field(default=16.0, ge=1)
    prices: str = ""
    metrics_days: int = Field(default=7, ge=1)
    ingress_rpm: float = Field(default=600, gt=0)
    tls: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def world_overcommit(self) -> float:
        """Of nodes of a seed file that name none: they are like real ones, unless somebody asks for more."""
        return self.overcommit if "overcommit" in self.model_fields_set else 1.0

    @property
    def told_host(self) -> str:
        """What clients are told to ask: of every address, which nobody can reach from elsewhere, a name."""
        return self.allow_host[0] if self.host in ("0.0.0.0", "::") and self.allow_host else self.host


def load_settings(**flags: object) -> Settings:
    """
    Flags win over the environment; a flag that was not given is None.

    Raises:
        Invalid: a HOMEPORT_* variable that is not a setting or cannot be read, crash points
            outside testing, a relative path, two listeners on one port, or an empty passphrase.
    """
    known = {f"HOMEPORT_{name.upper()}" for name in Settings.model_fields} | OTHERS
    unknown = sorted(n for n in os.environ if n.startswith("HOMEPORT_") and n not in known)
    if unknown:
        raise Invalid(unknown[0], f"not a setting; the settings are {', '.join(sorted(known - OTHERS))}")
    given = {k: v for k, v in flags.items() if v is not None}
    for name in LISTS:
        if (told := os.environ.get(name)) is not None and not _is_json_list(told):
            raise Invalid(name, """is no JSON list; write it as '["one", "two"]'""")
    if "data_dir" not in given and os.environ.get("HOMEPORT_DATA_DIR") == "":
        raise Invalid("HOMEPORT_DATA_DIR", "is empty; name a directory, or unset it")
    try:
        settings = Settings(**given)  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        first = error.errors()[0]  # not its input, which may be the passphrase
        name = str(first["loc"][0])
        field = f"--{name.replace('_', '-')}" if name in given else f"HOMEPORT_{name.upper()}"
        raise Invalid(field, first["msg"].replace("Input should be", "must be")) from None
    _check_listeners(settings)
    if settings.crash_at and not settings.testing:
        raise Invalid("HOMEPORT_CRASH_AT", "is honoured only with HOMEPORT_TESTING=1")
    if settings.crash_at:
        parse_crash_at(settings.crash_at)
    parse_prices(settings.prices)
    for path in settings.allow_host_path:
        if not path.is_absolute():
            raise Invalid("--allow-host-path", f"{str(path)!r} is not absolute; begin it with '/'")
    try:
        pool = ipaddress.IPv4Network(settings.network_pool)
    except ValueError as error:
        raise Invalid("HOMEPORT_NETWORK_POOL", f"{error}; for example 10.213.0.0/16") from error
    if pool.prefixlen > 26:
        raise Invalid("HOMEPORT_NETWORK_POOL", f"{pool} has no room for a /26")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing = "--tls-key" if settings.tls_key is None else "--tls-cert"
        raise Invalid(missing, "is missing; a certificate and its key are given together")
    if settings.secret_key is not None and not settings.secret_key.get_secret_value():
        raise Invalid("HOMEPORT_SECRET_KEY", "is empty; set a passphrase, or unset it to use the key file")
    return settings


def _is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False


def _check_listeners(settings: Settings) -> None:
    if not settings.host.strip():
        raise Invalid("--host", "is empty, which would be every address; write 0.0.0.0 if that is meant")
    if settings.gateway_port is None and settings.port == 65535:
        raise Invalid("--gateway-port", "--port is the last one there is; give --gateway-port as well")
    if settings.port and settings.port == settings.gateway_port:
        raise Invalid("--gateway-port", f"{settings.port} is --port's already; choose another")
