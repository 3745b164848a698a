"""What GitHub tells by itself, taken in: alerts at once, installations kept up to date.

A delivery is noted when all of it has been done: what failed may be sent again, and what is sent twice changes nothing.
Alerts carry GitHub's time, so that an older one changes nothing; of installations GitHub is asked, but for suspending
and removing, which are taken as they are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from security_agent import configuration, installation, reach, repository
from security_agent.agent import Acting
from security_agent.alert import read_alert
from security_agent.github.webhook import AlertNotice, InstallationNotice, RepositoriesNotice
from security_agent.intake import Intake, Taken
from security_agent.sql import query

if TYPE_CHECKING:
    from permalog import Owner
    from security_agent.agent import Agent
    from security_agent.github.webhook import Notice

ACTING: Final = Acting.alone("github-webhook", "webhook")


def take(agent: Agent, delivery_id: str, notice: Notice) -> bool:
    """Does what a webhook asks for, for every owner who has bound the installation.

    Args:
        agent: the agent.
        delivery_id: GitHub's, the same when a delivery is sent again.
        notice: what was told.

    Returns:
        False where this delivery was taken before.

    Raises:
        UnreadableAlert: the alert is not of GitHub's form; nothing was changed.
        GitHubError: GitHub could not be asked about the installation; the delivery may be sent again.
    """
    with agent.looking() as connection:
        if connection.execute(query("delivery", "is_taken"), {"delivery": delivery_id}).fetchone():
            return False
    match notice:
        case AlertNotice():
            take_alert(agent, notice)
        case InstallationNotice():
            take_installation(agent, notice)
        case RepositoriesNotice():
            take_repositories(agent, notice)
    with agent.looking() as connection:
        connection.execute(query("delivery", "note"), {"delivery": delivery_id, "now": agent.clock()})
    return True


def take_alert(agent: Agent, notice: AlertNotice) -> Taken:
    """Takes in one alert, for the owners that have the agent enabled and the repository selected."""
    facts = read_alert(notice.alert)
    taken = Taken()
    for owner in installation.owners_of(agent, notice.installation_id):
        if not _wants(agent, owner, notice.repository.id):
            continue
        intake = Intake(agent, owner, notice.repository.id, notice.repository.full_name, ACTING)
        with agent.changing(owner) as connection:
            repository.put(connection, owner, [notice.repository])
            taken = taken.and_(intake.take(connection, [facts]))
    return taken


def take_installation(agent: Agent, notice: InstallationNotice) -> None:
    """Marks a binding suspended or removed; for everything else asks GitHub how the installation is."""
    id = notice.installation.id  # noqa: A001  what it is
    for owner in installation.owners_of(agent, id):
        match notice.action:
            case "deleted":
                installation.remove(agent, owner, ACTING, "webhook")
            case "suspend":
                installation.suspend(agent, owner, ACTING, "webhook")
            case "created" | "unsuspend" | "new_permissions_accepted":
                installation.connect(agent, owner, id, ACTING, "webhook")


def take_repositories(agent: Agent, notice: RepositoriesNotice) -> None:
    """Asks GitHub what the installation reaches now; what it reaches no more leaves the selection."""
    for owner in installation.owners_of(agent, notice.installation_id):
        bound = installation.read(agent, owner)
        if bound is None or bound.suspended_at is not None:
            continue
        reach.refresh(agent, owner, notice.installation_id, ACTING)
        if bound.repository_selection != notice.repository_selection:
            installation.connect(agent, owner, notice.installation_id, ACTING, "webhook")


def _wants(agent: Agent, owner: Owner, repository_id: int) -> bool:
    wish = configuration.read(agent, owner)
    return wish.enabled and (wish.repository_selection == "all" or repository_id in wish.selected_repository_ids)
