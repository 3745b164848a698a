"""Each rule of the verifier is needed: without it, some attack of the matrix would not be found by what its row says.

A rule is a function of the verifier that names a code. Which function has made a finding is read from the stack.
"""

import ast
import sys
from collections import defaultdict
from copy import deepcopy
from pathlib import Path
from typing import Any

import psycopg
import pytest

from attacks import Attack
from matrix import ALL, Known, attack, codes
from permalog.tlog.findings import NOTICES, Finding, VerifyCode
from permalog.verifying import database as verify_database
from permalog.verifying import outside as verify_outside
from permalog.verifying import rows as verify_rows
from permalog.verifying import rules as verify
from permalog.verifying import schema as verify_schema
from permalog.verifying import times as verify_times
from permalog.verifying import tree as verify_tree
from tampering import Connection

_VERIFIER = (verify, verify_database, verify_outside, verify_rows, verify_schema, verify_times, verify_tree)
MODULES = {Path(str(module.__file__)).name: module for module in _VERIFIER}
Rule = tuple[str, str, VerifyCode]
# Those that speak only where a verification begins with the end of another or is given a policy
# (tests/database/test_verifying.py, tests/cli/test_anchor.py), or where a log goes on after a restore
# (tests/sealing/test_resuming.py).
ELSEWHERE: set[Rule] = {
    ("rows.py", "_misplaced", VerifyCode.EVENT_MISSING),
    ("rules.py", "", VerifyCode.EPOCH_BROKEN),
    ("tree.py", "_is_witnessed", VerifyCode.WITNESS_QUORUM),
    ("outside.py", "check_bundle", VerifyCode.WITNESS_QUORUM),
}


def rules() -> set[Rule]:
    """Module, function and code, wherever a code is named; in a table of codes the function is empty."""
    found: set[Rule] = set()

    def walk(node: ast.AST, module: str, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef) else function
            if isinstance(child, ast.Attribute) and ast.unparse(child.value) == "VerifyCode":
                found.add((module, inside, VerifyCode[child.attr]))
            walk(child, module, inside)

    for name, module in MODULES.items():
        walk(ast.parse(Path(str(module.__file__)).read_text()), name, "")
    return {rule for rule in found if rule[2] not in NOTICES}


def maker(every: set[Rule], code: VerifyCode) -> set[Rule]:
    """The innermost function on the stack that names the code; else the tables that do."""
    frame = sys._getframe(2)
    while frame is not None:
        rule = (Path(frame.f_code.co_filename).name, frame.f_code.co_name, code)
        if rule in every:
            return {rule}
        frame = frame.f_back
    return {rule for rule in every if rule[2] is code and not rule[1]}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_any_one_rule_an_attack_would_not_be_found(sealed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    every = rules()
    made: defaultdict[VerifyCode, list[set[Rule]]] = defaultdict(list)
    needed: set[Rule] = set()
    new = Finding.__new__

    def noted(cls: type[Finding], code: VerifyCode, *columns: Any, **named: Any) -> Finding:
        made[code].append(maker(every, code))
        return new(cls, code, *columns, **named)

    monkeypatch.setattr(Finding, "__new__", noted)
    with psycopg.connect(sealed) as connection:
        known = Known(connection)
        for one in ALL:
            needed |= needed_for(connection, known, one, made)
        connection.rollback()
    missing = ["; ".join(rule) for rule in sorted(every - needed - ELSEWHERE)]
    assert missing == [], "\n".join(missing)


def needed_for(
    connection: Connection,
    known: Known,
    one: Attack,
    made: defaultdict[VerifyCode, list[set[Rule]]],
) -> set[Rule]:
    """The rules without which this attack would not be found as expected."""
    needed: set[Rule] = set()
    with connection.transaction(force_rollback=True):
        attack(connection, one)
        known = deepcopy(known)
        known.spoil(one.spoils)
        for by, code in one.found.items():
            made.clear()
            codes(connection, known.given(by))
            # Without a rule, what only that rule has found is gone.
            needed |= {rule for rule in set().union(*made[code]) if all(by == {rule} for by in made[code])}
    return needed
