"""Erasing somebody reaches the agent's tables: everything by which they could be known goes."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from alerts import EARLY, alert, dismissed
from everywhere import everything_in
from permalog import Actor, Owner
from permalog_server.accounts import Accounts
from permalog_server.forgetting import Office
from security_agent import configuration, finding
from security_agent.agent import Acting, Agent
from security_agent.alert import read_alert
from security_agent.errors import Erased
from security_agent.intake import Intake

ORGANIZATION = UUID("00000000-0000-4000-8000-00000000000d")
OWNER = Owner.organization(ORGANIZATION)
ADDRESS, NAME = "ada.lovelace@acme.example", "Ada Lovelace of Acme"
ADA = Acting(Actor.user("u_ada", email=ADDRESS, name=NAME), "api")


def take(agent: Agent, owner: Owner, *raw: dict[str, object]) -> None:
    with agent.changing(owner) as connection:
        Intake(agent, owner, 7, "acme/web", ADA).take(connection, [read_alert(one) for one in raw])


@pytest.fixture
def office(agent: Agent, tmp_path: Path) -> Office:
    accounts = Accounts(agent.log.database)
    accounts.ensure_person("u_ada", email=ADDRESS, name=NAME)
    accounts.ensure_membership("u_ada", ORGANIZATION, "owner")
    return Office(agent.log, accounts, tmp_path / "journal")


def test_erasing_a_person_clears_every_trace_in_every_table(agent: Agent, office: Office, agent_database: str) -> None:
    configuration.save(agent, OWNER, 0, {"sla_high_days": 7}, ADA)
    take(agent, OWNER, dismissed(1, EARLY, dismissed_comment=f"As {ADDRESS} says"), alert(2), alert(3))
    with psycopg.connect(agent_database) as connection:
        connection.execute(
            "UPDATE security_agent.finding SET status = 'ignored', ignored_by = 'u_ada', ignored_by_type = 'user',"
            " ignored_comment = 'Mine, and I am proud' WHERE source_id = '2'"
        )
        connection.execute(
            "INSERT INTO security_agent.write_back (log_id, finding_id, reason, comment, requested_by)"
            " SELECT log_id, id, 'not_used', 'Mine, and I am proud', 'u_ada' FROM security_agent.finding"
            " WHERE source_id = '2'"
        )
        connection.execute(
            "INSERT INTO security_agent.analysis (log_id, finding_id, slot, triggered_by, triggered_by_type)"
            " SELECT log_id, id, 1, 'u_ada', 'user' FROM security_agent.finding WHERE source_id = '3'"
        )
    assert ADDRESS in everything_in(agent_database)
    office.forget_user("u_ada", Actor.staff("s_1"))
    left = everything_in(agent_database)
    assert ADDRESS not in left
    assert NAME.lower() not in left
    assert "proud" not in left
    with psycopg.connect(agent_database) as connection:
        kept = connection.execute("SELECT count(*), count(ignored_by) FROM security_agent.finding").fetchone()
        assert kept == (3, 1), "the findings stay, and who dismissed one on GitHub is somebody else"


def test_a_later_sync_does_not_bring_back_what_was_erased(agent: Agent, office: Office, agent_database: str) -> None:
    raw = dismissed(1, EARLY, dismissed_comment=f"As {ADDRESS} says")
    take(agent, OWNER, raw)
    office.forget_user("u_ada", Actor.staff("s_1"))
    take(agent, OWNER, raw)
    assert ADDRESS not in everything_in(agent_database)


def test_erasing_an_owner_leaves_nothing_and_lets_nothing_in(agent: Agent, office: Office, agent_database: str) -> None:
    take(agent, OWNER, alert(1))
    mine = Owner.user("u_ada")
    take(agent, mine, alert(1))
    office.forget_organization(ORGANIZATION, Actor.staff("s_1"))
    assert finding.page(agent, OWNER).total == 0
    assert finding.page(agent, mine).total == 1
    with pytest.raises(Erased):
        take(agent, OWNER, alert(1))
    office.forget_user("u_ada", Actor.staff("s_1"))
    with pytest.raises(Erased):
        take(agent, mine, alert(2, EARLY + timedelta(days=1)))
    with psycopg.connect(agent_database) as connection:
        for table in ("finding", "integration", "repository", "sync", "connecting", "delivery"):
            assert connection.execute(f"SELECT count(*) FROM security_agent.{table}").fetchone() == (0,)  # pyright: ignore[reportArgumentType, reportCallIssue]
