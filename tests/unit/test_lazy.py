"""What verifies loads nothing that it does not stand on."""

import subprocess
import sys

import pytest

import permalog


@pytest.mark.parametrize(
    "module",
    ["tlog.canonical", "tlog.checkpoint", "tlog.findings", "tlog.merkle", "tlog.note", "tlog.tile", "verifying.rules"],
)
def test_a_verifier_loads_no_driver(module: str) -> None:
    program = (
        f"import sys, permalog.{module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}"
        " & {'psycopg', 'psycopg_pool', 'pydantic', 'ssl', 'asyncio'}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_every_public_name_is_loaded_when_it_is_used() -> None:
    for name in permalog.__all__:
        assert getattr(permalog, name).__name__ == name
    assert set(permalog.__all__) <= set(dir(permalog))


def test_what_is_not_there_is_not_found() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = permalog.nothing  # pyright: ignore[reportAttributeAccessIssue]
