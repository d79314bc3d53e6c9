"""The `homeport` command. Parse, call, print; what costs time is imported inside the commands."""

import click

from .billing import billing
from .clock import clock
from .exec_in import exec_in
from .faults import fault
from .nodes import node
from .org import department, pool, project
from .queue import queue, why
from .registries import registry
from .reservations import reservation
from .rules import rule
from .server import demo, doctor, env, exec_, serve
from .tokens import token
from .top import top
from .workloads import approve, logs, status


@click.group()
@click.version_option(package_name="homeport")
def main() -> None:
    """Homeport: a GPU cloud that runs on your own machine."""


for command in (
    serve, env, exec_, demo, doctor, status, why, logs, approve, reservation, registry, token,
    top, billing, exec_in, project, department, pool, node,
    fault, rule, clock, queue,
):  # fmt: skip
    main.add_command(command)
