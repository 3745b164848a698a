"""Every action of the agent's catalogue has a test that makes it happen through the public API."""

from pathlib import Path

from proofs import proven
from security_agent.actions import CATALOGUE

KINDS = ("security.finding.", "security.config.", "security.sync.", "security.installation.")
WAITING = {
    "security.finding.dismissed", "security.finding.auto_dismissed", "security.finding.analysis_started",
    "security.finding.analysis_completed", "security.finding.analysis_failed", "security.finding.write_back_completed",
}  # fmt: skip
"""Their routes are not served yet. A test of theirs goes into tests/agent/test_events_*.py, and the name from here."""


def test_every_action_is_proven_or_known_to_wait() -> None:
    wanted = {action.name for action in CATALOGUE if action.name.startswith(KINDS) and not action.retired}
    shown = proven(Path(__file__).parent).keys()
    assert wanted - shown == WAITING


def test_every_action_has_a_model_of_its_payload() -> None:
    assert [a.name for a in CATALOGUE if a.name.startswith(KINDS) and a.payload is None] == [
        "security.finding.dismissed"  # its routes are to come
    ]
