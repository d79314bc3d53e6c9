"""What simulated containers do, as data: rules that match them, and the book that holds the rules."""

import contextlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...faults import write_json
from ...model import ContainerSpec


@dataclass(frozen=True, slots=True)
class Span:
    """A duration that is drawn for each container, evenly between two bounds, in seconds."""

    low_s: float
    high_s: float


Duration = float | Span


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a container says to an HTTP request while it runs; the first that matches does.

    Args:
        method, path: fnmatch patterns; the path has no query.
        status: 100 to 599. body: text, sent as UTF-8.
        headers: name and value, beside Content-Type and Content-Length.
        delay_s: before the answer, by the Clock.
    """

    method: str = "*"
    path: str = "*"
    status: int = 200
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What becomes of the containers it matches; the first rule that matches decides.

    Args:
        id: by which it is listed and removed; "" where nobody does.
        image, workload_id, command, kind, workload, shape, project, node: fnmatch patterns, case
            counts; the command is matched with its arguments joined by spaces, `workload` is the name.
        attempt: only the container of that attempt of a replica; None: of every one.
        start_after_s: pending so long, then running.
        pull_for_s: the pull of its image takes so long, once on each node.
        run_for_s: then it ends by itself; None runs until it is stopped.
        oom_killed: the exit code is then 137, whatever `exit_code` says.
        refuse: the launch fails with this text. refuse_pull: the pull of its image does,
            each time.
        log: lines and when they come, in seconds after the start.
        address: where requests for it go while it runs; "": it takes none, unless it has answers.
        answers: to HTTP requests; it then gets an address of its own, on which its ports listen.
        gpu_percent: the utilisation that its GPUs are said to have while it runs; None: nothing is said.
    """

    image: str = "*"
    workload_id: str = "*"
    command: str = "*"
    start_after_s: Duration = 0.0
    run_for_s: Duration | None = 1.0
    exit_code: int = 0
    oom_killed: bool = False
    refuse: str = ""
    refuse_pull: str = ""
    log: tuple[tuple[float, str], ...] = ()
    address: str = ""
    gpu_percent: float | None = None
    id: str = ""
    kind: str = "*"
    workload: str = "*"
    shape: str = "*"
    project: str = "*"
    node: str = "*"
    attempt: int | None = None
    pull_for_s: Duration = 0.0
    answers: tuple[Answer, ...] = ()

    def matches(self, spec: ContainerSpec) -> bool:
        origin = spec.origin
        return (
            self.attempt in (None, spec.attempt)
            and _fits(self.kind, origin.kind)
            and _fits(self.workload, origin.name)
            and _fits(self.project, origin.project)
            and _fits(self.shape, origin.shape)
            and _fits(self.image, spec.image)
            and _fits(self.workload_id, spec.workload_id)
            and _fits(self.node, spec.node)
            and (self.command == "*" or fnmatchcase(" ".join(spec.command), self.command))
        )


def _fits(pattern: str, text: str) -> bool:
    return pattern == "*" or fnmatchcase(text, pattern)


@dataclass(frozen=True, slots=True)
class Life:
    """What was drawn for one container, in milliseconds; `run_for_ms` None: until it is stopped."""

    start_after_ms: int
    run_for_ms: int | None


# Where no rule matches: what serves or publishes a port stays, all else is a job and is soon done.
JOB, SERVICE = Rule(), Rule(run_for_s=None)


def _draw_ms(duration: Duration, key: str) -> int:
    """The same for the same key, whatever else is drawn."""
    if isinstance(duration, Span):
        # A string is hashed in full by Random, unlike by hash(), which differs from run to run.
        duration = random.Random(key).uniform(duration.low_s, duration.high_s)
    return round(duration * 1000)


def rule_of(told: Mapping[str, Any]) -> Rule:
    """From what `asdict` and JSON made of it; fields of a later version are left out."""
    known = {f.name for f in fields(Rule)}
    values: dict[str, Any] = {name: value for name, value in told.items() if name in known}
    for name in ("start_after_s", "run_for_s", "pull_for_s"):
        if isinstance(values.get(name), dict):
            values[name] = Span(**values[name])
    values["log"] = tuple((after_s, text) for after_s, text in values.get("log", ()))
    values["answers"] = tuple(
        Answer(**answer | {"headers": tuple((n, v) for n, v in answer["headers"])})
        for answer in values.get("answers", ())
    )
    return Rule(**values)


@lru_cache(maxsize=4096)
def told_of(rule: Rule) -> str:
    """As JSON, made once for the thousands of containers of one rule."""
    return json.dumps(asdict(rule))


@lru_cache(maxsize=4096)
def interned(text: str) -> Rule:
    """From that JSON: one object for all containers of one rule."""
    return rule_of(json.loads(text))


def life_of(told: Sequence[Any] | None, rule: Rule) -> Life:
    """`told` None: it was written down before rules had spans."""
    if told is not None:
        return Life(*told)
    run_for_ms = None if rule.run_for_s is None else _draw_ms(rule.run_for_s, "")
    return Life(_draw_ms(rule.start_after_s, ""), run_for_ms)


class RuleBook:
    """
    The rules in force. What was added while the server runs goes before what it began with,
    the newest first.

    Args:
        given: those that it begins with.
        seed: of everything random.
        path: where added rules are kept for the next server; None keeps none.
    """

    def __init__(self, given: Sequence[Rule] = (), seed: int = 0, path: Path | None = None) -> None:
        self.seed, self._path = seed, path
        self._given, self._added = tuple(given), ()
        self._drawn: Counter[str] = Counter()
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                self._added = tuple(rule_of(rule) for rule in json.loads(path.read_bytes()))
        self._rules = (*self._added, *self._given)

    @property
    def given(self) -> tuple[Rule, ...]:
        return self._given

    @given.setter
    def given(self, rules: Sequence[Rule]) -> None:
        self._given = tuple(rules)
        self._rules = (*self._added, *self._given)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """In the order in which they are tried."""
        return self._rules

    @property
    def added(self) -> tuple[Rule, ...]:
        return self._added

    def add(self, rule: Rule) -> None:
        """In place of an added one of that id."""
        self._keep((rule, *(r for r in self._added if r.id != rule.id)))

    def remove(self, rule_id: str) -> bool:
        """False where no added rule has that id."""
        rest = tuple(r for r in self._added if r.id != rule_id)
        is_there = len(rest) < len(self._added)
        if is_there:
            self._keep(rest)
        return is_there

    def find(self, spec: ContainerSpec) -> Rule | None:
        return next((rule for rule in self._rules if rule.matches(spec)), None)

    def draw(self, rule: Rule, spec: ContainerSpec) -> Life:
        """
        How long this container is pending and runs. It follows from the seed and from what the container
        is: project, name, replica and attempt. A workload's id is not in it, for its end is random; the
        second of the same name draws anew.
        """
        key = ""
        if isinstance(rule.start_after_s, Span) or isinstance(rule.run_for_s, Span):
            key = self._key(spec)
            self._drawn[key] += 1
            key = f"{key}/{self._drawn[key]}"
        run_for_ms = None if rule.run_for_s is None else _draw_ms(rule.run_for_s, f"{key}/run")
        return Life(_draw_ms(rule.start_after_s, f"{key}/start"), run_for_ms)

    def draw_pull_s(self, rule: Rule, spec: ContainerSpec) -> float:
        """It is the image's and the node's, not the container's."""
        return _draw_ms(rule.pull_for_s, f"{self.seed}/{spec.image}/{spec.node}/pull") / 1000

    def _key(self, spec: ContainerSpec) -> str:
        origin = spec.origin
        who = f"{origin.project}/{origin.name}" if origin.name else spec.workload_id
        # `<workload>-<index>-<suffix>`: the suffix is the random end of the workload's id once more.
        tail = spec.replica_id.removeprefix(spec.workload_id)
        index = tail.split("-")[1] if tail.startswith("-") else tail
        return f"{self.seed}/{who}/{index}/{spec.attempt}"

    def _keep(self, added: tuple[Rule, ...]) -> None:
        if self._path is not None:
            write_json(self._path, [asdict(rule) for rule in added])
        self._added = added
        self._rules = (*added, *self._given)
