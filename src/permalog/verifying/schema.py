"""The database's own guards, compared with what migrations make: triggers, rights, owners, policies, partitions.

``sql/as_migrated.tsv`` says what migrations make; a test writes and compares it. Where a database was migrated without
roles, owners, rights and policies are not looked at: there are none to speak of.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from permalog.sql import HERE, query
from permalog.tlog.findings import Finding, Report, VerifyCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from permalog.postgres.database import Connection

EXPECTED: Final = HERE.joinpath("as_migrated.tsv")
_CODES: Final = {
    "trigger": VerifyCode.SCHEMA_TRIGGER,
    "grant": VerifyCode.SCHEMA_GRANT,
    "role": VerifyCode.SCHEMA_GRANT,
    "policy": VerifyCode.SCHEMA_POLICY,
    "owner": VerifyCode.SCHEMA_OWNER,
}
_OF_ROLES: Final = frozenset({"grant", "role", "policy", "owner"})
_BOUNDS: Final = re.compile(r"FOR VALUES FROM \((MINVALUE|'[0-9a-f-]{36}')\) TO \(('[0-9a-f-]{36}')\)")


class Guard(NamedTuple):
    """One line: a property of an object."""

    kind: str
    object: str
    text: str


_SEARCH: Final = re.compile(
    r"CREATE INDEX event_\*_search ON permalog\.event_\* USING gin \(permalog\.searchable\("
    r"log_id, resource_type, resource_id, correlation_id, metadata\) ([\w\"]+\.)?gin_trgm_ops\)"
)
"""What a partition may have once it is closed: an index that only helps to find what is there."""


def check_schema(connection: Connection, report: Report, *, has_roles: bool) -> None:
    """All guards are in place, and there is nothing beside them."""
    connection.execute(query("verify_schema", "settings"))
    shared, parts = read_guards(connection)
    expected = {guard for guard in expected_guards() if has_roles or guard.kind not in _OF_ROLES}
    of_parts = {guard for guard in expected if _of_partition(guard)}
    _compare(expected - of_parts, (g for g in shared if has_roles or g.kind not in _OF_ROLES), "", report)
    for name, guards in sorted(parts.items()):
        _compare(of_parts, (g for g in guards if has_roles or g.kind not in _OF_ROLES), name, report)
    _check_partitions(connection, report)


def read_guards(connection: Connection) -> tuple[set[Guard], dict[str, set[Guard]]]:
    """What is there: of the whole, and of each partition."""
    shared: set[Guard] = set()
    parts: defaultdict[str, set[Guard]] = defaultdict(set)
    for kind, name, partition, text in connection.execute(query("verify_schema", "guards")):
        guard = Guard(kind, name, " ".join(text.split()))
        if not (guard.object == "event_*_search" and _SEARCH.fullmatch(guard.text)):
            (parts[partition] if partition else shared).add(guard)
    return shared, dict(parts)


def expected_guards() -> set[Guard]:
    """What migrations make."""
    lines = EXPECTED.read_text(encoding="utf-8").splitlines()
    return {Guard(*line.split("\t")) for line in lines if line}


def _of_partition(guard: Guard) -> bool:
    return guard.object.startswith("event_*")


def _compare(expected: Iterable[Guard], found: Iterable[Guard], partition: str, report: Report) -> None:
    wanted, there = set(expected), set(found)
    changed = {(one.kind, one.object) for one in wanted - there} & {(one.kind, one.object) for one in there - wanted}
    faults = {(one.kind, one.object, "is missing") for one in wanted - there}
    faults |= {(one.kind, one.object, "is not one that migrations make") for one in there - wanted}
    told = {(kind, name, "is not as migrations make it") if (kind, name) in changed else (kind, name, what)
            for kind, name, what in faults}  # fmt: skip
    for kind, name, what in sorted(told):
        shown = name.replace("event_*", partition) if partition else name
        if kind == "table" and re.fullmatch(r"event_(before|[0-9]{6}(_[0-9]+)?)", shown):
            continue  # a detached partition: told with the partitions
        report(Finding(_CODES.get(kind, VerifyCode.SCHEMA_CHANGED), f"{kind} {shown}: {what}"))


def _check_partitions(connection: Connection, report: Report) -> None:
    """The partitions lie side by side, from the beginning of time to at least this month, and none was detached."""
    spans: list[tuple[str, str, str]] = []
    for name, bounds in connection.execute(query("verify_schema", "partitions")):
        if found := _BOUNDS.fullmatch(bounds):
            spans.append(("" if found[1] == "MINVALUE" else found[1], found[2], name))
        else:
            what = "was detached from the events" if not bounds else "has bounds that migrations do not give"
            report(Finding(VerifyCode.SCHEMA_PARTITION, f"the partition {name} {what}"))
    spans.sort()
    if not spans or spans[0][0]:
        report(Finding(VerifyCode.SCHEMA_PARTITION, "the partition of the oldest events is missing"))
    for (_, end, name), (start, _, behind) in pairwise(spans):
        if start != end:
            report(Finding(VerifyCode.SCHEMA_PARTITION, f"a partition between {name} and {behind} is missing"))
    now = connection.execute(query("verify_schema", "now")).fetchone()
    if now is None or not spans or spans[-1][1].strip("'") <= now[0]:
        report(Finding(VerifyCode.SCHEMA_PARTITION, "the partition of this month's events is missing"))
