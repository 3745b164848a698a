"""What GitHub tells by itself, taken in: alerts at once, installations kept up to date.

Each owner whom a delivery concerns takes it once: that it was taken is noted in the transaction of what it changes, so
that of two that come at the same moment one waits and finds it done, and what failed may be sent again. Alerts carry
GitHub's time, so that an older one changes nothing. Notices of installations carry none, and may come in any order:
GitHub is asked how the installation is now. Only its removal is taken as it is told, for that is for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from security_agent import configuration, installation, repository
from security_agent.agent import Acting
from security_agent.alert import read_alert
from security_agent.errors import NotConnected
from security_agent.github.errors import NotFound
from security_agent.github.webhook import AlertNotice
from security_agent.intake import Intake
from security_agent.sql import query

if TYPE_CHECKING:
    from permalog import Connection, Owner
    from security_agent.agent import Agent
    from security_agent.alert import AlertFacts
    from security_agent.github.webhook import InstallationNotice, Notice, RepositoriesNotice

Outcome: TypeAlias = Literal["taken", "duplicate", "ignored"]
"""Duplicate: taken before. Ignored: it concerns nobody."""
ACTING: Final = Acting.alone("github-webhook", "webhook")


def take(agent: Agent, delivery_id: str, notice: Notice) -> Outcome:
    """Does what a webhook asks for, for every owner who has bound the installation.

    Args:
        agent: the agent.
        delivery_id: GitHub's, the same when a delivery is sent again.
        notice: what was told.

    Returns:
        What became of it: taken, if anybody took it.

    Raises:
        UnreadableAlert: the alert is not of GitHub's form; nothing was changed.
        GitHubError: GitHub could not be asked about the installation. Who came before has taken it, the others do when
            it is sent again.
    """
    if isinstance(notice, AlertNotice):
        facts = read_alert(notice.alert)
        outcomes = {_take_alert(agent, owner, delivery_id, notice, facts) for owner in _concerned(agent, notice)}
    else:
        outcomes = {_take_news(agent, owner, delivery_id, notice) for owner in _concerned(agent, notice)}
    if "taken" in outcomes:
        return "taken"
    return "duplicate" if "duplicate" in outcomes else "ignored"


def _concerned(agent: Agent, notice: Notice) -> list[Owner]:
    """Whom a notice concerns. A removal sent twice finds who has taken it, too, and is a duplicate."""
    return installation.owners_of(agent, notice.installation_id, removed=notice.action == "deleted")


def _take_alert(agent: Agent, owner: Owner, delivery_id: str, notice: AlertNotice, facts: AlertFacts) -> Outcome:
    wish = configuration.read(agent, owner)
    is_selected = wish.repository_selection == "all" or notice.repository.id in wish.selected_repository_ids
    if not (wish.enabled and is_selected):
        return "ignored"
    with agent.changing(owner) as connection:
        if not _is_first(agent, connection, owner, delivery_id):
            return "duplicate"
        repository.put(connection, owner, [notice.repository])
        Intake(agent, owner, notice.repository.id, notice.repository.full_name, ACTING).take(connection, [facts])
    return "taken"


def _take_news(
    agent: Agent, owner: Owner, delivery_id: str, notice: InstallationNotice | RepositoriesNotice
) -> Outcome:
    if _is_taken(agent, owner, delivery_id):  # before GitHub is asked, which costs of the quota
        return "duplicate"
    told = "removed" if notice.action == "deleted" else _ask(agent, notice)
    with agent.changing(owner) as connection:
        if not _is_first(agent, connection, owner, delivery_id):
            return "duplicate"
        if isinstance(told, installation.Told):
            installation.save(agent, connection, owner, told, ACTING, "webhook")
        else:
            installation.mark(agent, connection, owner, ACTING, "webhook", told)
    return "taken"


def _ask(
    agent: Agent, notice: InstallationNotice | RepositoriesNotice
) -> installation.Told | Literal["suspended", "removed"]:
    """The installation as GitHub has it now."""
    try:
        return installation.ask(agent, notice.installation_id)
    except NotFound:
        return "removed"
    except NotConnected:
        if notice.action == "suspend":
            return "suspended"  # nobody to ask as; it is believed, for it only takes something away
        raise


def _is_taken(agent: Agent, owner: Owner, delivery_id: str) -> bool:
    with agent.looking() as connection:
        parameters = {"log": owner.log_id, "delivery": delivery_id}
        return connection.execute(query("delivery", "is_taken"), parameters).fetchone() is not None


def _is_first(agent: Agent, connection: Connection, owner: Owner, delivery_id: str) -> bool:
    """Notes that the owner takes a delivery; False where it was taken before, for which it may have to wait."""
    parameters = {"log": owner.log_id, "delivery": delivery_id, "now": agent.clock()}
    return connection.execute(query("delivery", "take"), parameters).fetchone() is not None
