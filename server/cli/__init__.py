"""The `homeport` command. Parse, call, print; what costs time is imported inside the commands."""

import click

from .reservations import reservation
from .server import demo, doctor, env, exec_, serve
from .workloads import approve, logs, status, why


@click.group()
@click.version_option(package_name="homeport")
def main() -> None:
    """Homeport: a GPU cloud that runs on your own machine."""


for command in (serve, env, exec_, demo, doctor, status, why, logs, approve, reservation):
    main.add_command(command)
