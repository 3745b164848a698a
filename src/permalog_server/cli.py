"""The command ``permalog``: which commands there are, and how each ends.

A command's module is loaded only when it is called, so that ``--help`` and ``--version`` answer at once.

Exit codes: 0 done; 1 it failed, or found something wrong; 2 misuse or invalid input; 130 interrupted (Ctrl-C);
141 whoever read the output has left. Errors are one line on standard error, with ``--json`` one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, NoReturn

import typer
from typer.main import get_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141


class Command(NamedTuple):
    """Where a command is, and what it does in one line."""

    module: str
    """Inside `permalog_server.commands`; the command is `name` in it, a function or a group of commands."""
    help: str
    name: str = ""
    """Where it is not that of the module."""


COMMANDS: Final = {
    "demo": Command("demo", "Show a log with sample data, let the security agent work on it, and serve it over HTTP."),
    "migrate": Command("migrate", "Bring the database up to date, or say or check what that takes."),
    "doctor": Command("doctor", "Say what is wrong with this installation, and what to do about it."),
    "import": Command("import_events", "Append events from NDJSON; safe to run again."),
    "list": Command("list_events", "List events, newest first."),
    "show": Command("show", "Show one event."),
    "summary": Command("summary", "Count events by action, by actor and by day."),
    "actions": Command("actions", "List the actions that the log knows, retired ones included."),
    "export": Command("export", "Write the events of a log as CSV, JSON or NDJSON; recorded in the log."),
    "evidence": Command("evidence", "Write events with all that proves them into one file; recorded in the log."),
    "serve": Command(
        "serve", "Serve the HTTP API and the pages, do the background work, and seal events where the login may."
    ),
    "verify": Command("verify", "Prove that no sealed event was changed, removed, moved or put in, or say which."),
    "seal": Command(
        "seal", "Seal events and sign checkpoints, and look after the partitions, until Ctrl-C or SIGTERM."
    ),
    "key": Command("key", "Show the key that signs checkpoints, or replace it.", "app"),
    "log": Command("log", "Look after logs as wholes.", "app"),
    "agent": Command("agent", "Work with the security agent.", "app"),
    "worker": Command("worker", "Do the security agent's background work, until Ctrl-C or SIGTERM."),
    "anchor": Command("anchor", "Anchor what was signed, publish it, and ask the witnesses."),
    "witness": Command("witness", "Witness the checkpoints of logs; needs no database.", "app"),
    "token": Command("token", "Make, list and revoke tokens of the API.", "app"),
    "erase-user": Command("erase", "Forget a person; what happened stays on record.", "erase_user"),
    "erase-organization": Command("erase", "Remove an organisation's log and accounts.", "erase_organization"),
    "erase": Command("erase", "Repeat the erasures of a journal, after a backup was restored."),
    "settings": Command("settings", "Show the settings, where each comes from and what it means."),
}


def main() -> NoReturn:
    """The program: runs the command that the arguments name, and exits with its code."""
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(run(sys.argv[1:]))


def _leave(number: int, _frame: object) -> NoReturn:
    """Ends in order, so that the embedded server is left and not forgotten."""
    sys.exit(128 + number)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; whatever is expected to go wrong becomes one line."""
    try:
        code = _invoke(list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered must not raise again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        return _complain(arguments, _worded(error.format_message()), MISUSED)
    except Exception as error:
        known = _expected(error)
        if known is None:
            _tell_sentry(error)
            raise
        return _complain(arguments, str(error), known, getattr(error, "field", None))
    else:
        return code


def application(wanted: str | None) -> typer.Typer:
    """The command line, with the one command loaded that is `wanted`, and the others by name only."""
    app = typer.Typer(
        name="permalog",
        help="An audit log on PostgreSQL that nobody can quietly alter.",
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name, command in COMMANDS.items():
        call = load(command) if name == wanted else _not_loaded
        if isinstance(call, typer.Typer):
            app.add_typer(call, name=name, help=command.help)
        else:
            app.command(name, help=None if name == wanted else command.help, short_help=command.help)(call)
    return app


def load(command: Command) -> Callable[..., int | None] | typer.Typer:
    """The function, or the group, behind a command."""
    module = importlib.import_module(f"permalog_server.commands.{command.module}")
    return getattr(module, command.name or command.module)


def _invoke(arguments: list[str]) -> int:
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    if wanted in COMMANDS and (dsn := os.environ.get("PERMALOG_SENTRY_DSN")):
        from permalog_server.crashes import watch  # noqa: PLC0415  only for those who use it

        watch(dsn)
    command = get_command(application(wanted))
    with command.make_context("permalog", arguments) as context:
        result: object = command.invoke(context)
    return result if isinstance(result, int) else 0


def _expected(error: Exception) -> int | None:
    """The exit code of an error that the user can do something about; None: it is a fault of the program."""
    from permalog.errors import PermalogError  # noqa: PLC0415  only after a command was loaded

    if isinstance(error, PermalogError):
        return MISUSED if isinstance(error, ValueError) else FAILED
    if isinstance(error, OSError):
        return FAILED
    return _of_the_driver(error)


def _of_the_driver(error: Exception) -> int | None:
    return FAILED if type(error).__module__.startswith(("psycopg.", "psycopg_pool.")) else None


def _complain(arguments: Sequence[str], message: str, code: int, field: str | None = None) -> int:
    line = " ".join(message.split())
    if "--json" in arguments:
        about = {"error": line} if field is None else {"error": line, "field": field}
        print(json.dumps(about, ensure_ascii=False), file=sys.stderr)
    else:
        print(f"permalog: {line}", file=sys.stderr)
    return code


def _worded(message: str) -> str:
    """The parser's words, without what only its authors understand."""
    if message == "Missing command.":
        return "Missing command: permalog --help lists them"
    return message.replace("Value error, ", "")


def _tell_sentry(error: Exception) -> None:
    if os.environ.get("PERMALOG_SENTRY_DSN"):
        from permalog_server.crashes import tell  # noqa: PLC0415  only for those who use it

        tell(error)


def _show_version(wanted: bool) -> None:  # noqa: FBT001  typer hands a flag over by place
    if wanted:
        print(f"permalog {version('permalog')}")
        raise typer.Exit


def _root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What stands before a command."""


def _not_loaded() -> int:
    raise AssertionError  # only the command that is called is loaded, and only that one runs
