"""docs/verification.md names every code that can be found. `UPDATE_DOCUMENTS=1` writes it anew."""

import ast
import inspect
import os
import re
from pathlib import Path

from permalog.tlog import findings
from permalog.tlog.findings import NOTICES, VerifyCode

DOCUMENT = Path(__file__).parents[2] / "docs" / "verification.md"
MARKS = ("<!-- codes: made by tests/unit/test_verification_document.py -->", "<!-- end of codes -->")


def meanings() -> dict[str, str]:
    """Each code's docstring."""
    tree = ast.parse(inspect.getsource(findings))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "VerifyCode")
    pairs = [node.value.value for node in found.body if isinstance(node, ast.Assign | ast.Expr)
             and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)][1:]  # fmt: skip
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def table() -> str:
    told = meanings()
    assert set(told) == set(VerifyCode)
    rows = ["| code | |", "|---|---|"]
    rows += [f"| `{code}` | {told[code]} |" for code in VerifyCode if code not in NOTICES]
    rows += ["", "Notices break nothing, and are for whoever looks after the log:", "", "| code | |", "|---|---|"]
    rows += [f"| `{code}` | {told[code]} |" for code in VerifyCode if code in NOTICES]
    return "\n".join(rows)


def test_every_code_is_documented_with_its_meaning() -> None:
    text = DOCUMENT.read_text()
    pattern = re.compile(f"{re.escape(MARKS[0])}\n(.*?){re.escape(MARKS[1])}", re.DOTALL)
    if os.environ.get("UPDATE_DOCUMENTS"):
        text = pattern.sub(lambda _: f"{MARKS[0]}\n{table()}\n{MARKS[1]}", text)
        DOCUMENT.write_text(text)
    found = pattern.search(text)
    assert found is not None
    assert found[1].strip() == table()
