"""Events as nobody expects them, for Hypothesis."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from permalog import Actor, Event, Owner, Personal, Resource

# What is escaped, quoted, read as a null or as an end by one of the formats on the way.
AWKWARD = [
    "\\N", "\\.", "\\", "\\\\u0000", "\\u0000", "\t", "\r\n", "\n", '"', "'", "''", "$1", "%s", "{}", "$$", "NULL",
    "\x7f", "\x1f", "\u2028", "\ufeff", "\ufffe", "ſ", "İ", "ς", "e\u0301", "👩‍👩‍👧", "\u202e", "\U0010ffff",
    "$identity", "$personal", '{"$identity": ""}', '"$personal"', '""$identity"": ""' + "0" * 64 + '""',
]  # fmt: skip


def text(longest: int) -> st.SearchStrategy[str]:
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.one_of(
        st.sampled_from(AWKWARD).filter(lambda found: len(found) <= longest),
        st.text(characters, min_size=1, max_size=min(longest, 20)),
        st.text(characters, min_size=longest, max_size=longest) if longest <= 50 else st.just("ß" * longest),
    )


personal = st.builds(
    Personal,
    text(100).filter(lambda kind: kind not in {"actor", "staff"}),
    st.none() | text(2048),
)
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
keys = text(255).filter(lambda key: key not in {"$identity", "$personal"}) | st.just("")
values = st.recursive(
    st.none() | st.booleans() | numbers | text(300) | st.just("") | personal,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(keys, inside, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(keys, values, max_size=4)
owners = st.builds(Owner.organization, st.uuids()) | st.builds(Owner.user, text(255))
actors = st.one_of(
    st.builds(
        Actor,
        st.sampled_from(["user", "api_key", "staff"]),
        text(255), st.none() | text(320), st.none() | text(255), st.none() | text(45), st.none() | text(2048),
    ),
    st.builds(Actor.system, st.none() | text(255)),
)  # fmt: skip
# Only what the writer may date: neither ahead nor older than seven days.
times = st.integers(1_000_000, 6 * 86_400_000_000).map(lambda ago: datetime.now(UTC) - timedelta(microseconds=ago))


@st.composite
def events(draw: st.DrawFn, **given: Any) -> Event:
    members: dict[str, Any] = {
        "owner": draw(owners),
        "actor": draw(actors),
        "action": draw(st.sampled_from(["thing.made", "thing.changed", "thing.lost"])),
        "resource": Resource(draw(text(100)), draw(text(512))),
        "outcome": draw(st.sampled_from(["success", "failure", "denied"])),
        "occurred_at": draw(st.none() | times),
        "before_state": draw(st.none() | payloads),
        "after_state": draw(st.none() | payloads),
        "metadata": draw(payloads),
        "correlation_id": draw(st.none() | text(255)),
        "source": draw(st.sampled_from([None, "web", "api", "worker", "cron", "callback", "webhook", "cli", "import"])),
    }
    return Event(**(members | given))
