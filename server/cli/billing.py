"""`homeport billing`."""

import json
import sys
from pathlib import Path

import click

from .client import ask, data_dir_of, data_dir_option

HEADINGS = ("minutes", "hours", "cost")


@click.command()
@data_dir_option
@click.option("--since", help="7d, 12h, or a date such as 2026-11-01 (UTC).  [default: from the beginning]")
@click.option("--until", help="The same; not in it any more.  [default: now]")
@click.option(
    "--by", type=click.Choice(["workload", "owner", "shape"]), default="workload", show_default=True
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)
def billing(data_dir: Path | None, since: str | None, until: str | None, by: str, form: str) -> None:
    """What it has cost, by HOMEPORT_PRICES of the server."""
    from urllib.parse import urlencode

    given = {"since": since, "until": until, "by": by}
    query = urlencode({k: v for k, v in given.items() if v is not None})
    made = ask(data_dir_of(data_dir), f"billing?{query}")
    if form == "json":
        click.echo(json.dumps(made))
        return
    if form == "csv":
        import csv

        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow([by, *HEADINGS])
        out.writerows([line["name"], *(line[h] for h in HEADINGS)] for line in made["lines"])
        return
    lines = [*made["lines"], made["total"]]
    width = max(len(by), *(len(line["name"]) for line in lines))
    click.echo(f"{by:{width}}" + "".join(f"{heading:>16}" for heading in HEADINGS))
    for line in lines:
        click.echo(f"{line['name']:{width}}" + "".join(f"{line[h]!s:>16}" for h in HEADINGS))
    if not made["has_prices"]:
        click.echo("No shape has a price: set HOMEPORT_PRICES for the server (docs/billing.md).", err=True)
