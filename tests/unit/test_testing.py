"""What applications test their own logging with."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from actions import ACTIONS
from permalog import Action, Actor, Event, Owner, Payload, Permalog, Resource
from permalog.errors import DatabaseProblem, InvalidEvent, NotAllowed, PermalogError, UnknownAction
from permalog.testing import capture, unconnected

DOCS = Path(__file__).parents[2] / "docs"


class Colour(Payload):
    """What a painted thing says."""

    metadata: dict[str, str]


PAINTED = Action("thing.painted", "thing", "Thing painted", payload=Colour)


def event(**members: Any) -> Event:
    given: dict[str, Any] = {
        "owner": Owner.user("u_1"), "actor": Actor.user("u_1"), "action": "thing.made",
        "resource": Resource("thing", "t_1"),
    }  # fmt: skip
    return Event(**(given | members))


@pytest.fixture
def log() -> Permalog:
    return unconnected([*ACTIONS, PAINTED])


def test_events_are_collected_in_order_with_and_without_a_connection(log: Permalog) -> None:
    first, second = event(), event(action="thing.changed")
    with capture() as events:
        receipt = log.record(first)
        log.record(second, connection=object())
    assert events == [first, second]
    assert events[0] is first
    assert receipt.log_id == first.owner.log_id
    assert receipt.id.version == 7


@pytest.mark.parametrize("connection", [None, object()], ids=["without", "with"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"action": "thing.unheard_of"}, UnknownAction),
        ({"action": "thing.painted", "metadata": {"colour": 7}}, InvalidEvent),
        ({"action": "thing.painted", "metadata": {"mail": "a@example.org"}}, InvalidEvent),
        ({"occurred_at": "2020-01-01T00:00:00Z"}, NotAllowed),
    ],
)
def test_a_wrong_event_raises_and_is_not_collected(
    log: Permalog, connection: object, fault: dict[str, Any], error: type[PermalogError]
) -> None:
    with capture() as events, pytest.raises(error):
        log.record(event(**fault), connection=connection)
    assert events == []


def test_one_logs_events_can_be_told_from_anothers(log: Permalog) -> None:
    another = unconnected(ACTIONS)
    with capture() as all_of_them, capture(log) as mine:
        log.record(event())
        another.record(event())
    assert (len(mine), len(all_of_them)) == (1, 1), "the innermost block takes the event"


def test_all_threads_are_collected(log: Permalog) -> None:
    with capture() as events:
        threads = [threading.Thread(target=log.record, args=(event(),)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(events) == 5


def test_the_block_ends_with_an_error_of_its_own_too(log: Permalog) -> None:
    with pytest.raises(LookupError), capture():
        raise LookupError
    with pytest.raises(DatabaseProblem, match="no database"):
        log.record(event())


def test_without_a_database_everything_else_says_so(log: Permalog) -> None:
    with capture():
        for ask in (log.writer, lambda: log.list(Owner.user("u_1")), lambda: log.summary(Owner.user("u_1"))):
            with pytest.raises(DatabaseProblem, match="no database"):
                ask()
    log.close()


def test_the_example_of_the_documents_runs() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "testing.md").read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/testing.md", "exec"), names)  # noqa: S102  our own document
    names["test_paying_is_recorded"]()
