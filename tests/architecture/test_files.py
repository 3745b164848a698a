"""What every file of the project keeps to."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

import permalog

ROOT = Path(__file__).parents[2]
LINES = 350


def tracked() -> list[Path]:
    """The files that git knows, and those it would take: a mistake is found before it is committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    ).stdout  # fmt: skip
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_source_file_is_longer_than_350_lines() -> None:
    sources = [path for path in (ROOT / "src").rglob("*") if path.suffix in {".py", ".sql"}]
    assert sources
    long = {str(path.relative_to(ROOT)): n for path in sources if (n := len(path.read_text().splitlines())) > LINES}
    assert long == {}


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    # Built from pieces, so that this file passes its own test.
    hosts = [
        "py" + r"pi\.org",
        "python" + r"hosted\.org",
        "npm" + r"js\.(?:org|com)",
        "deb" + r"ian\.org/debian",
    ]
    options = ["--index" + "-url", "--extra-index" + "-url", "--find" + "-links"]
    folders = [rf"(?<![\w.]){'/' + name}/" for name in ("work", "home", "root", "Users", "opt")]
    forbidden = re.compile("|".join(hosts + options + folders))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


def test_no_lock_file_that_records_hosts_is_kept() -> None:
    names = {path.name for path in tracked()}
    assert not names & {"uv.lock", "poetry.lock", "pylock.toml"}


def test_every_locked_requirement_has_an_exact_version_and_hashes() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        entries = re.split(r"\n(?=\S)", lock.read_text())
        requirements = [entry for entry in entries if not entry.startswith("#")]
        assert requirements
        for entry in requirements:
            assert re.match(r"[a-z0-9.-]+==\S+ ", entry), entry
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_each_ignored_rule_has_its_reason() -> None:
    config = (ROOT / "pyproject.toml").read_text()
    section = config[config.index("[tool.ruff.lint]") : config.index("[tool.basedpyright]")]
    rules = [line for line in section.splitlines() if re.match(r'\s+"[A-Z]+\d*",?', line)]
    assert rules
    assert [line for line in rules if not re.search(r"# \w.{3,}", line)] == []
    switched_off = [line for line in config.splitlines() if re.match(r'report\w+ = "none"', line)]
    assert switched_off


def names_taken_from_permalog(source: str) -> set[str]:
    """The names that a module takes from the library, submodules included."""
    taken: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "permalog":
            deeper = (node.module or "").partition(".")[2]
            taken |= {deeper} if deeper else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top, _, deeper = alias.name.partition(".")
                if top == "permalog" and deeper:
                    taken.add(deeper)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "permalog":
            taken.add(node.attr)
    return taken


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("from permalog import Event", {"Event"}),
        ("from permalog.event import Event", {"event"}),
        ("import permalog.event", {"event"}),
        ("import permalog\npermalog.Event()", {"Event"}),
        ("import permalog_server.cli", set[str]()),
    ],
)
def test_names_taken_are_found(source: str, taken: set[str]) -> None:
    assert names_taken_from_permalog(source) == taken


def test_the_agent_uses_public_names_only() -> None:
    public: set[str] = set(getattr(permalog, "__all__", ()))
    for path in (ROOT / "src" / "security_agent").rglob("*.py"):
        assert names_taken_from_permalog(path.read_text()) <= public, path
