"""Nothing that was accepted is lost or doubled, whoever is killed: `tests/killing.py` says what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def killing(kind: str, rounds: int, outage: float) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", TESTS / "killing.py", kind, str(rounds), str(outage)],
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_what_was_accepted_is_committed_and_sealed_exactly_once_whoever_is_killed(pytestconfig: pytest.Config) -> None:
    """A few rounds; ``make prove`` has two hundred (``--rounds``), and two minutes without a database."""
    rounds = int(str(pytestconfig.getoption("rounds")))
    said = killing("spool", rounds, 120 if rounds > 20 else 2)
    accepted, verified = re.search(r"(\d+) events accepted, 0 lost;.* (\d+) verified", said).groups()  # pyright: ignore[reportOptionalMemberAccess]
    assert int(verified) >= int(accepted) > 100


@pytest.mark.slow
def test_a_plain_queue_in_memory_loses_events_in_the_same_rounds() -> None:
    """What the spool is for: else the rounds above would prove nothing."""
    said = killing("queue", 1, 1)
    accepted, lost = re.search(r"(\d+) events accepted, (\d+) lost;", said).groups()  # pyright: ignore[reportOptionalMemberAccess]
    assert 0 < int(lost) < int(accepted)
