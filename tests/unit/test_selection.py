"""Which searches the quick test on a whole text may decide."""

import json

import pytest

from permalog.reading.leaf_places import LeafPlace
from permalog.reading.selection import _is_written_alike
from permalog.reading.stored import Person, Row, Stored


@pytest.mark.parametrize(
    ("needle", "alike"),
    [
        ("word", True),
        ("é%_\N{GRINNING FACE}", True),
        ('"', False),
        ("a\\b", False),
        ("a\nb", False),
        # Some locales lower-case a capital sigma by its neighbours: a letter of an escape such as \n would be one.
        ("\N{GREEK SMALL LETTER SIGMA}", False),
        ("a\N{GREEK SMALL LETTER FINAL SIGMA}", False),
    ],
)
def test_a_needle_is_written_alike_unless_json_or_a_locale_changes_it(needle: str, *, alike: bool) -> None:
    assert _is_written_alike(needle, json.dumps(needle, ensure_ascii=False)) is alike


def test_rows_are_put_together_by_position() -> None:
    """`permalog.reading.stored` relies on it, for speed."""
    assert Row._fields[:8] == Stored._fields[:8]
    assert Stored._fields[8] == "identity"
    assert Row._fields[8:12] == ("actor_email", "actor_name", *Person._fields[4:6])
    assert Person._fields[2:4] == ("email", "name")
    assert Row._fields[12:] == (*Stored._fields[9:], *LeafPlace._fields)
