"""Analysis: triage, then the code where it is needed, then a structured result; each step with its event.

pending --triage--> completed                        triage was enough
pending --triage--> running --sandbox--> completed   the code was looked at
pending, running --> failed                          with a code; after 30 minutes by itself
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from security_agent import attempt as attempts
from security_agent.agent import Acting
from security_agent.attempt import Attempt, attempt, complete, digest_of, fail, held, started, verdict_as_json
from security_agent.case import Case, hold, look, owner_of
from security_agent.errors import AgentError, Conflict, NotFound
from security_agent.extraction import NotExtracted
from security_agent.llm import Model, OutOfCredit
from security_agent.queue import Task, defer
from security_agent.sandbox import runner
from security_agent.sandbox.contained import SandboxFailed, Stopped
from security_agent.sql import query
from security_agent.triage import model as by_model
from security_agent.triage import rules

if TYPE_CHECKING:
    from permalog import Connection, Owner
    from security_agent.agent import Agent
    from security_agent.extraction import Extracted
    from security_agent.triage.verdict import Verdict

MOST: Final = 3
"""Pending or running analyses of one owner; the database holds it."""
STALE_SECONDS: Final = 30 * 60
PUBLIC: Final = "https://github.com/{repository}.git"
INTERNAL: Final = "internal_error"


class TooMany(AgentError):
    """The owner has as many analyses under way as there may be."""

    def __init__(self) -> None:
        super().__init__(f"{MOST} analyses are under way: start this one when one of them has ended")


class Runner(Protocol):
    """An external runner: takes an order, looks at the code somewhere, and calls back with the token."""

    def order(self, case: Case, analysis_id: UUID, token: str) -> None:
        """Hands an order over.

        Raises:
            SandboxFailed: it could not be handed over.
        """
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What judging works with, beside the agent."""

    model: Model | None = None
    """Asked for triage and extraction; None: the rules judge."""
    clone_from: str = PUBLIC
    """Where repositories are cloned from, of `security_agent.sandbox.clone.address`."""
    runner: Runner | None = None
    """None: the built-in one."""

    def model_for(self, case: Case) -> Model | None:
        """The installation's model, by the name that the owner has chosen."""
        if self.model is None or case.model is None:
            return self.model
        return Model(self.model.base_url, case.model, self.model.api_key, self.model.seconds)


def start(  # noqa: PLR0913  who starts what, and how
    agent: Agent, means: Means, owner: Owner, finding_id: UUID, acting: Acting, *, force: bool = False
) -> Attempt:
    """Starts an analysis: triage at once, the code later where it is needed.

    Args:
        agent: with its log.
        means: what judges.
        owner: whose finding it is.
        finding_id: which.
        acting: who starts it.
        force: look at the code whatever triage says.

    Returns:
        The attempt: completed where triage was enough, else running.

    Raises:
        NotFound: there is no such finding.
        Conflict: it is not open, or is being analysed.
        TooMany: three analyses of this owner are under way.
        OutOfCredit: the model's endpoint asks for payment; nothing is pending then, and the failure is on record.
    """
    end_stale(agent, owner.log_id)
    one = _begin(agent, means, owner, finding_id, acting, force=force)
    try:
        with agent.looking() as connection:
            case = look(connection, owner.log_id, finding_id)
        verdict = _triage(means, case)
        _after_triage(agent, case.owner, one, acting, verdict)
    except OutOfCredit:
        give_up(agent, owner, one.id, acting, "out_of_credit")
        raise
    except Exception:
        give_up(agent, owner, one.id, acting, INTERNAL)
        raise
    with agent.looking() as connection:
        return attempt(connection, owner.log_id, one.id)


def run(agent: Agent, means: Means, log_id: UUID, id: UUID) -> None:
    """Looks at the code for an analysis that is running: a job's work. Nothing happens where it is over already."""
    with agent.looking() as connection:
        try:
            owner = owner_of(connection, log_id)
            one = attempt(connection, log_id, id)
            case = look(connection, log_id, one.finding_id)
        except NotFound:
            return
    if one.status != "running":
        return
    acting = Acting(one.actor, "worker")
    try:
        if means.runner is not None:
            _order(agent, means.runner, owner, case, one)
            return
        extracted = runner.analyze(case.subject, means.clone_from, case.repository, stopping=agent.stopping)
    except (SandboxFailed, NotExtracted) as error:
        give_up(agent, owner, id, acting, error.code)
        return
    except Stopped:
        # Still running: whoever works on takes it up.
        with agent.changing(owner) as connection:
            defer(connection, Task.ANALYZE, log_id=log_id, id=id)
        return
    except Exception:
        give_up(agent, owner, id, acting, INTERNAL)
        raise
    finish(agent, owner, id, acting, extracted)


def finish(agent: Agent, owner: Owner, id: UUID, acting: Acting, extracted: Extracted) -> bool:
    """Ends an analysis with its result; False where it was over already."""
    with agent.changing(owner) as connection:
        both = held(connection, owner.log_id, id)
        if both is not None:
            complete(agent, connection, *both, acting, extracted)
        return both is not None


def end_stale(agent: Agent, log_id: UUID | None = None, seconds: float = STALE_SECONDS) -> int:
    """Fails what has been pending or running for too long, of one owner or of all; how many."""
    with agent.looking() as connection:
        rows = connection.execute(query("analysis", "stale"), {"log_id": log_id, "seconds": seconds}).fetchall()
        owners: dict[UUID, Owner] = {row[0]: owner_of(connection, row[0]) for row in rows}
    return sum(give_up(agent, owners[row[0]], row[1], None, "stale") for row in rows)


def _begin(  # noqa: PLR0913  who starts what
    agent: Agent, means: Means, owner: Owner, finding_id: UUID, acting: Acting, *, force: bool
) -> Attempt:
    """Takes a slot, and says so."""
    with agent.changing(owner) as connection:
        case = hold(connection, owner.log_id, finding_id)
        if case.status != "open":
            raise Conflict(f"the finding is {case.status}; only open ones are analysed")
        if case.analysis_status in {"pending", "running"}:
            raise Conflict("the finding is being analysed")
        chosen = means.model_for(case)
        one = _take_slot(connection, case, acting, chosen.name if chosen else None, force=force)
        connection.execute(
            query("analysis", "set_status"),
            {"log_id": case.log_id, "finding_id": finding_id, "id": one.id, "status": "pending"},
        )
        agent.log.record(started(case, one, acting), connection)
        return one


def _take_slot(connection: Connection, case: Case, acting: Acting, model: str | None, *, force: bool) -> Attempt:
    id, actor = uuid4(), acting.actor  # noqa: A001
    given = {
        "log_id": case.log_id, "id": id, "finding_id": case.finding_id, "forced": force, "model": model,
        "triggered_by": actor.id, "triggered_by_type": actor.type, "correlation_id": str(id),
    }  # fmt: skip
    for slot in range(1, MOST + 1):
        if connection.execute(query("analysis", "take_slot"), {**given, "slot": slot}).fetchone():
            return attempt(connection, case.log_id, id)
    raise TooMany


def _triage(means: Means, case: Case) -> Verdict:
    model = means.model_for(case)
    return rules.triage(case.subject) if model is None else by_model.triage(case.subject, model)


def _after_triage(agent: Agent, owner: Owner, one: Attempt, acting: Acting, verdict: Verdict) -> None:
    """Completes the analysis, or hands it to a job, which is in the queue if and only if it is running."""
    with agent.changing(owner) as connection:
        both = held(connection, owner.log_id, one.id)
        if both is None:
            return
        case, _ = both
        needed = verdict.needs_sandbox or one.forced
        connection.execute(
            query("analysis", "note_triage"),
            {
                "log_id": owner.log_id, "id": one.id, "triage": Jsonb(verdict_as_json(verdict)),
                "model": verdict.model, "status": "running" if needed else "pending",
                "tier": "sandbox" if needed else "triage",
            },
        )  # fmt: skip
        if needed:
            set_to = {"log_id": owner.log_id, "finding_id": case.finding_id, "id": one.id, "status": "running"}
            connection.execute(query("analysis", "set_status"), set_to)
            defer(connection, Task.ANALYZE, log_id=owner.log_id, id=one.id)
        else:
            complete(agent, connection, case, attempt(connection, owner.log_id, one.id), acting, None)


def _order(agent: Agent, external: Runner, owner: Owner, case: Case, one: Attempt) -> None:
    """A token for this attempt alone: a later one has another, and with the attempt's end it is worth nothing."""
    token = f"pan_{owner.log_id.hex}_{one.id.hex}_{secrets.token_urlsafe(32)}"
    with agent.changing(owner) as connection:
        given = {"log_id": owner.log_id, "id": one.id, "digest": digest_of(token)}
        if connection.execute(query("analysis", "hand_out_token"), given).fetchone() is None:
            return
    external.order(case, one.id, token)


def give_up(agent: Agent, owner: Owner, id: UUID, acting: Acting | None, code: str) -> bool:
    """Fails an attempt that is not over; False where it is."""
    with agent.changing(owner) as connection:
        both = held(connection, owner.log_id, id)
        if both is not None:
            case, one = both
            fail(agent, connection, case, one, acting or Acting.alone("analysis", "cron"), code)
        return both is not None


def listed(  # noqa: PLR0913  filters
    agent: Agent, owner: Owner, *, finding_id: UUID | None = None, status: str | None = None, limit: int = 50,
    offset: int = 0,
) -> tuple[list[Attempt], int]:  # fmt: skip
    """An owner's analyses, newest first, and how many there are.

    Raises:
        NotFound: the finding that is asked for is not there.
    """
    given = {
        "log_id": owner.log_id, "finding_id": finding_id, "status": status, "limit": limit, "offset": offset,
    }  # fmt: skip
    with agent.looking() as connection, connection.transaction():
        if finding_id is not None:
            look(connection, owner.log_id, finding_id)
        rows = connection.execute(query("analysis", "list"), given).fetchall()
        counted = connection.execute(query("analysis", "count"), given).fetchone()
    return [attempts.of_row(row) for row in rows], counted[0] if counted else 0
