"""What the pages say can be followed: links lead somewhere, commands are commands, worlds are worlds."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from homeport.server.cli import main
from homeport.server.world import load_world

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def blocks(page: Path, *kinds: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind in kinds]


def commands() -> Iterator[tuple[str, str]]:
    """Lines of shell blocks that call `homeport`, each with its page."""
    for page in PAGES:
        for block in blocks(page, "", "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if found := re.match(r"(?:\$ )?(?:HOMEPORT_\w+=\S+ )?homeport ((?!ready:)[a-z].*)", line):
                    yield page.name, found[1]


def parse(command: click.Command, words: list[str], parent: click.Context) -> None:
    """
    As the command line would, without doing anything.

    Raises:
        click.UsageError: no such command, option or value.
    """
    if isinstance(command, click.Group):
        name, inner, rest = command.resolve_command(parent, words)
        assert inner is not None
        within = click.Context(inner, parent=parent, info_name=name)
        parse(inner, rest, within)
    else:
        command.make_context(parent.info_name, words, parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(prose) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_readme_leads_to_every_page() -> None:
    told = {(ROOT / link).resolve() for link in LINK.findall(README.read_text(encoding="utf-8"))}
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page not in told] == []


def test_readme_names_every_command() -> None:
    named = re.search(r"`homeport (serve \|[^`]*)`", README.read_text(encoding="utf-8"))
    assert named is not None
    assert sorted(named[1].replace("|", " ").split()) == sorted(main.list_commands(click.Context(main)))


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_command_of_a_page_is_one(page: str, line: str) -> None:
    words = shlex.split(re.split(r" (?:&|&&|\|)(?: |$)", line)[0], comments=True)
    parse(main, words, click.Context(main, info_name="homeport"))


@pytest.mark.parametrize("world", blocks(ROOT / "docs" / "simulated.md", "yaml"), ids=["small", "whole"])
def test_world_of_the_docs_is_read(world: str, tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(world)
    assert load_world(tmp_path / "world.yaml", overcommit=1.0).nodes
