"""The program as a whole: how it starts, and how it ends."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from calling import Command, Said
from permalog_server import cli

PROGRAM = [sys.executable, "-m", "permalog_server"]


def run(*arguments: str, **environment: str) -> Said:
    done = subprocess.run(
        [*PROGRAM, *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("--version") == Said(0, f"permalog {version('permalog')}\n", "")


def test_help_loads_nothing_that_is_slow() -> None:
    slow = {"psycopg", "pydantic", "rich", "orjson", "cryptography", "permalog.client"}
    script = "import sys; from permalog_server import cli; cli.run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Usage: permalog" in done.stdout
    assert not slow & set(done.stderr.split())


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_is_described_by_the_line_that_lists_it(name: str) -> None:
    command = cli.COMMANDS[name]
    loaded = cli.load(command)
    said = loaded.info.help if isinstance(loaded, typer.Typer) else loaded.__doc__
    assert (said or "").splitlines()[0] == command.help


def test_without_a_command_it_says_where_to_look(permalog: Command) -> None:
    assert permalog() == Said(2, "", "permalog: Missing command: permalog --help lists them\n")


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("import",), ("settings", "--nonsense"), ("migrate", "--sql", "--check")]
)
def test_misuse_is_one_line_and_code_2(permalog: Command, arguments: tuple[str, ...]) -> None:
    said = permalog(*arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("permalog: ")


def test_an_error_is_json_where_json_was_asked_for(permalog: Command) -> None:
    said = permalog("nonsense", "--json")
    assert (said.code, said.err) == (2, '{"error": "No such command \'nonsense\'."}\n')


def test_a_database_that_cannot_be_reached_is_one_line_and_code_1() -> None:
    said = run("import", os.devnull, PERMALOG_DATABASE_URL="postgresql://app:hunter2@127.0.0.1:1/log")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("permalog: cannot connect to the database: ")
    assert "hunter2" not in said.err


def test_a_database_without_schema_says_what_to_run(empty_database: str) -> None:
    said = run("import", os.devnull, PERMALOG_DATABASE_URL=empty_database)
    assert (said.code, said.err) == (1, "permalog: this database has no Permalog schema: run `permalog migrate`\n")


def test_whoever_stops_reading_hears_no_complaint(database: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with Path(os.devnull).open("rb") as nothing:
        done = subprocess.run(
            [*PROGRAM, "doctor", "--json"], stdin=nothing, stdout=write, stderr=subprocess.PIPE,
            env=os.environ | {"PERMALOG_DATABASE_URL": database}, check=False,
        )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_ends_it_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_invoke", interrupted)
    assert cli.run([]) == 130
