"""Which test makes which action happen through the public API: ``@proves("security.finding.created")``."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def proves(*actions: str) -> Callable[[F], F]:
    """Marks a test of tests/agent/test_events_*.py, for test_catalogue.py to find."""
    assert actions

    def mark(test: F) -> F:
        return test

    return mark


def proven(folder: Path) -> dict[str, str]:
    """Every action that a test of a folder proves, and the name of that test."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("test_events_*.py")):
        found |= proven_in(file)
    return found


def proven_in(file: Path) -> dict[str, str]:
    """The same of one file."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "proves":
                    found |= {ast.literal_eval(argument): node.name for argument in mark.args}
    return found
