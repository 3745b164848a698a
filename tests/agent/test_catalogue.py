"""Every action of the agent's catalogue has a test that makes it happen through the public API."""

import ast
import re
from pathlib import Path

from proofs import proven
from security_agent.actions import CATALOGUE

KINDS = ("security.finding.", "security.config.", "security.sync.", "security.installation.")


def test_every_action_is_proven_through_the_api() -> None:
    wanted = {action.name for action in CATALOGUE if action.name.startswith(KINDS) and not action.retired}
    shown = proven(Path(__file__).parent).keys()
    assert wanted - shown == set()


def test_every_action_has_a_model_of_its_payload() -> None:
    assert [a.name for a in CATALOGUE if a.name.startswith(KINDS) and a.payload is None] == []


def test_every_trap_has_a_test_named_after_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "traps.md").read_text()
    documented = re.findall(r"^\| ([^|]+) \| [^|]+ \| `(test_\w+)` \|$", page, re.MULTILINE)
    assert [name for trap, name in documented if name != "test_" + re.sub(r"[^a-z0-9]+", "_", trap.lower())] == []
    tree = ast.parse(Path(__file__).with_name("test_traps.py").read_text())
    made = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert sorted(made) == sorted(name for _, name in documented)
    assert len(documented) == len(set(documented)) == 17
