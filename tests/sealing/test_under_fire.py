"""Each committed event gets exactly one leaf, whoever is killed wherever: `tests/under_fire.py` says what happens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sealing_survives_being_shot_at(database: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """A few rounds; ``make prove`` has two hundred (``--rounds``)."""
    rounds = str(pytestconfig.getoption("rounds"))
    done = subprocess.run(
        [sys.executable, "-W", "error", TESTS / "under_fire.py", database, tmp_path, rounds],
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout
    assert f"{rounds} rounds" in done.stdout
