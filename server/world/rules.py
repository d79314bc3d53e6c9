"""A rule as people write it, in the seed file and to /homeport/rules, and the driver's `Rule`."""

import json
import re
import signal
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from ...runtime.drivers.simulated.rules import Answer, Rule, Span
from ..errors import Invalid
from .amounts import Seconds, SpanBody
from .reading import known_part, said, told

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
FOREVER, KILLED = "forever", 137
KINDS, STAYING = ("job", "endpoint", "pod"), ("endpoint", "pod")


def _which(value: Any) -> str:
    """By what was written, so that only what is wrong with that is told."""
    if value == FOREVER:
        return FOREVER
    return "span" if isinstance(value, dict | SpanBody) else "fixed"


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic takes it for 1 or 0
        raise ValueError(f"{value} is no number")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth)]
Fixed = Annotated[Seconds, Tag("fixed")]
Drawn = Annotated[SpanBody, Tag("span")]
SimulatedTime = Annotated[Fixed | Drawn, Discriminator(lambda value: _which(value).replace(FOREVER, "fixed"))]
RunTime = Annotated[Annotated[Literal["forever"], Tag(FOREVER)] | Fixed | Drawn, Discriminator(_which)]


class Strict(BaseModel):
    """A word that nobody knows is a slip of the pen, and is refused."""

    model_config = ConfigDict(extra="forbid")


class MatchBody(Strict):
    """Patterns as in a shell (`*`, `?`, `[a-z]`); all of them have to match. `attempt`: 1 is the first."""

    kind: str = "*"
    name: str = "*"
    id: str = "*"
    image: str = "*"
    command: str = "*"
    shape: str = "*"
    project: str = "*"
    node: str = "*"
    attempt: Whole | None = Field(default=None, ge=1)

    @field_validator("kind")
    @classmethod
    def _matches_some(cls, pattern: str) -> str:
        if not any(fnmatchcase(kind, pattern) for kind in KINDS):
            raise ValueError(f"{pattern!r} matches none of {', '.join(KINDS)}")
        return pattern


class LineBody(Strict):
    """Text alone is a line at the start."""

    at: Seconds = 0.0
    line: str

    @model_validator(mode="before")
    @classmethod
    def _text_alone(cls, value: Any) -> Any:
        return {"line": value} if isinstance(value, str) else value


class AnswerBody(Strict):
    """`body`: text as it is; anything else is sent as JSON."""

    method: str = "*"
    path: str = "*"
    status: int = Field(default=200, ge=200, le=599)
    body: Any = ""
    content_type: str | None = None
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    delay: Seconds = 0.0

    @field_validator("headers")
    @classmethod
    def _one_line_each(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not name.replace("-", "").isalnum() or not name.isascii() or not value.isprintable():
                raise ValueError(f"{name!r} is no header of one line")
            if name.lower() in ("content-length", "transfer-encoding", "connection", "content-type"):
                raise ValueError(f"{name} is not to be set here")
        return headers

    @field_validator("content_type")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not (value.isprintable() and value.isascii()):
            raise ValueError("is no media type")
        return value

    def to_answer(self) -> Answer:
        is_text = isinstance(self.body, str)
        plain = "text/plain; charset=utf-8" if is_text else "application/json"
        body = self.body if is_text else json.dumps(self.body)
        return Answer(
            self.method, self.path, self.status, body, self.content_type or plain,
            tuple(self.headers.items()), self.delay,
        )  # fmt: skip


class RuleBody(Strict):
    """
    What becomes of what it matches; see docs/simulated.md.

    Args:
        pending: between the launch and the start. pull: of the image, once on each node.
        run: until it ends by itself; unless it is said, what serves stays and a job takes a second.
        exit_code, oom, crash: how it ends; one of them. `crash` is a signal's name.
        fail_launch, fail_pull: the words with which the engine refuses it.
    """

    name: str = ""
    match: MatchBody = MatchBody()
    pending: SimulatedTime = 0.0
    pull: SimulatedTime = 0.0
    run: RunTime | None = None
    exit_code: Whole | None = Field(default=None, ge=0, le=255)
    oom: bool = False
    crash: str | None = None
    fail_launch: str = ""
    fail_pull: str = ""
    log: list[LineBody] = Field(default_factory=list[LineBody], max_length=10_000)
    http: list[AnswerBody] = Field(default_factory=list[AnswerBody], max_length=1000)
    gpu_percent: float | None = Field(default=None, ge=0, le=100)

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if name and NAME.fullmatch(name) is None:
            raise ValueError(
                f"{name!r} must be at most 63 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
            )
        return name

    @field_validator("crash")
    @classmethod
    def _known_signal(cls, name: str | None) -> str | None:
        if name is not None and name.upper() not in signal.Signals.__members__:
            raise ValueError(f"{name!r} is no signal; write SIGSEGV, SIGABRT, SIGKILL, ...")
        return name

    @model_validator(mode="after")
    def _one_end(self) -> "RuleBody":
        ends = [n for n in ("exit_code", "oom", "crash") if getattr(self, n) not in (None, False)]
        if len(ends) > 1:
            raise ValueError(f"{' and '.join(ends)} cannot both be; choose one")
        if ends and self.run == FOREVER:
            raise ValueError(f"what runs forever has no {ends[0]}; give `run` a time")
        return self

    def to_rule(self, name: str = "") -> Rule:
        """`name`: where it has none of its own."""
        code = self.exit_code or 0
        if self.crash is not None:
            code = 128 + signal.Signals[self.crash.upper()].value
        return Rule(
            id=self.name or name, kind=self.match.kind, workload=self.match.name, workload_id=self.match.id,
            image=self.match.image, command=self.match.command, shape=self.match.shape,
            project=self.match.project, node=self.match.node, attempt=self.match.attempt,
            start_after_s=_duration(self.pending), pull_for_s=_duration(self.pull),
            run_for_s=self._run_for(), exit_code=code, oom_killed=self.oom,
            refuse=self.fail_launch, refuse_pull=self.fail_pull,
            log=tuple((one.at, one.line) for one in self.log),
            answers=tuple(answer.to_answer() for answer in self.http), gpu_percent=self.gpu_percent,
        )  # fmt: skip

    def _run_for(self) -> Any:
        if isinstance(self.run, str):
            return None
        if self.run is not None:
            return _duration(self.run)
        ends = self.exit_code is not None or self.oom or self.crash is not None
        stays = bool(self.http) or self.match.kind in STAYING
        return None if stays and not ends else 1.0


class RulesBody(Strict):
    """A file of rules alone."""

    rules: list[RuleBody]


def parse_rule(value: Mapping[str, Any]) -> Rule:
    """
    Raises:
        Invalid: names the field.
    """
    try:
        body = RuleBody.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(told(known_part(first, value)) or "body", said(first)) from None
    if not body.name:
        raise Invalid("name", "is missing; the rule is listed and removed by it")
    return body.to_rule()


def to_wire(rule: Rule, *, is_added: bool) -> dict[str, Any]:
    """`added`: through /homeport/rules, and can be removed there."""
    match = {
        "kind": rule.kind, "name": rule.workload, "id": rule.workload_id, "image": rule.image,
        "command": rule.command, "shape": rule.shape, "project": rule.project, "node": rule.node,
    }  # fmt: skip
    matching: dict[str, Any] = {name: pattern for name, pattern in match.items() if pattern != "*"}
    if rule.attempt is not None:
        matching["attempt"] = rule.attempt
    found: dict[str, Any] = {
        "name": rule.id, "added": is_added, "match": matching, "pending": _told(rule.start_after_s),
        "pull": _told(rule.pull_for_s), "run": FOREVER if rule.run_for_s is None else _told(rule.run_for_s),
        "exit_code": KILLED if rule.oom_killed else rule.exit_code, "oom": rule.oom_killed,
        "fail_launch": rule.refuse, "fail_pull": rule.refuse_pull, "gpu_percent": rule.gpu_percent,
        "log": [{"at": at, "line": line} for at, line in rule.log],
        "http": [
            {
                "method": a.method, "path": a.path, "status": a.status, "body": a.body,
                "content_type": a.content_type, "headers": dict(a.headers), "delay": a.delay_s,
            }
            for a in rule.answers
        ],
    }  # fmt: skip
    return found


def _duration(value: float | SpanBody) -> float | Span:
    return Span(value.min, value.max) if isinstance(value, SpanBody) else value


def _told(duration: float | Span | None) -> object:
    return {"min": duration.low_s, "max": duration.high_s} if isinstance(duration, Span) else duration
