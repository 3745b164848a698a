"""docs/cli.md and docs/settings.md say what there is, and nothing else."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from permalog_server import cli
from permalog_server.commands.options import FILTERS
from permalog_server.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def sections(name: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    _, *parts = re.split(r"^## (.+)\n", (DOCS / name).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def options_in(text: str) -> set[str]:
    """The options that the first cells of a table name."""
    cells = re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE)
    return {option for cell in cells for option in re.findall(r"`(--?[a-z-]+)", cell)}


def command(name: str) -> Any:
    first, *rest = name.split()
    found: Any = get_command(cli.application(first))
    for part in (first, *rest):
        found = found.commands[part]
    return found


def commands() -> list[str]:
    """The names of all commands, those of a group behind the group's."""
    names: list[str] = []
    for name in cli.COMMANDS:
        inside = getattr(command(name), "commands", None)
        names += [name] if inside is None else [f"{name} {one}" for one in inside]
    return names


def heading_of(name: str) -> str:
    (heading,) = (h for h in sections("cli.md") if h.startswith(f"permalog {name} ") or h == f"permalog {name}")
    return heading


def test_every_command_and_no_other_is_documented() -> None:
    documented = {heading for heading in sections("cli.md") if heading.startswith("permalog ")}
    assert documented == {heading_of(name) for name in commands()}


@pytest.mark.parametrize("name", commands())
def test_every_option_and_no_other_is_documented(name: str) -> None:
    heading = heading_of(name)
    text = sections("cli.md")[heading]
    documented = options_in(text)
    if "[filters](#filters)" in text:
        documented |= options_in(sections("cli.md")["Filters"])
    parameters = command(name).params
    assert documented == {o for p in parameters if p.param_type_name == "option" for o in p.opts}
    assert heading.removeprefix(f"permalog {name}").split() == [
        p.metavar for p in parameters if p.param_type_name == "argument"
    ]


def test_every_filter_and_no_other_is_documented() -> None:
    assert options_in(sections("cli.md")["Filters"]) == {f"--{name.replace('_', '-')}" for name in FILTERS}


def test_every_setting_and_no_other_is_documented() -> None:
    documented = re.findall(r"^\| `(PERMALOG_\w+)` \|", (DOCS / "settings.md").read_text(), re.MULTILINE)
    assert documented == [setting.metadata["name"] for setting in fields(Settings)]


def test_every_exit_code_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", (DOCS / "cli.md").read_text(), re.MULTILINE)}
    assert {0, cli.FAILED, cli.MISUSED, cli.INTERRUPTED, cli.NOBODY_READS} <= documented
