"""Every action of the agent's catalogue has a test that makes it happen through the public API."""

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
