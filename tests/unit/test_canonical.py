"""A leaf has one form, and it is that of RFC 8785 wherever that tells stored events apart."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

import naive
from permalog.tlog import canonical
from permalog.tlog.canonical import EventRow, jcs, leaf_hash, leaf_preimage, read_preimage, read_preimages

ROW = EventRow(
    "e152bb82-5527-8d8b-8ded-3f5737b427b3",
    "019c12f7-15fb-707b-8000-000000000001",
    "2026-01-31T09:00:00.123456Z",
    "2026-01-31T09:00:00.200000Z",
    "app",
    "thing.made",
    "success",
    "user",
    "u_1",
    bytes(range(32)),
    "thing",
    "t_1",
    None,
    None,
    1,
    None,
    "{}",
    "{}",
)


class Number(str):
    """A number by its digits."""

    __slots__ = ()


def as_stored(value: Any) -> str:
    """JSON as PostgreSQL writes jsonb, but for the order of keys."""
    match value:
        case Number():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{as_stored(key)}: {as_stored(inside)}" for key, inside in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(as_stored, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


# Characters between which the orders of UTF-8 and UTF-16 differ, escapes, and what looks like a number in a string.
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.text(
        st.sampled_from('az"\\/\b\f\n\r\t\x01\x1f\x7f\x80\u2028\ud7ff\ue000\uffff\U00010000\U0010ffff'), max_size=4
    ),
    st.sampled_from(["1.5", " 1.5", ": 2.0, ", "[1e5", "< 4.17.21", '"', '\\" 1.0', "\\u0041", " -0"]),
)
digits = st.text("0123456789", min_size=1, max_size=22)
decimals = st.builds("{}{}.{}".format, st.sampled_from(["", "-"]), st.integers(0, 10**18), digits).map(Number)
integers = st.one_of(st.integers(-(2**53) - 2, 2**53 + 2), st.integers(-(10**30), 10**30), st.integers(-99, 99))
# Doubles as PostgreSQL stores them: digits, and never an exponent.
doubles = st.floats(allow_nan=False, allow_infinity=False).map(
    lambda found: Number(f"{found + 0.0:.1100f}".rstrip("0") + "0")
)
numbers = decimals | integers.map(str).map(Number) | st.floats(-1e4, 1e4).map(lambda one: Number(f"{one + 0.0:.3f}"))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(texts, inside, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5).map(as_stored)


@given(objects)
def test_every_object_has_the_form_of_a_second_implementation(text: str) -> None:
    assert jcs(text) == naive.jcs(text)


@given(objects)
def test_the_fast_path_writes_what_the_library_writes(text: str) -> None:
    if canonical._is_plain(text):
        assert jcs(text) == rfc8785.dumps(json.loads(text))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 10**15, 10**15 - 1) | st.text('ab 1."\\\n:,[', max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text("ab.1 ", max_size=3), inside, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("ab\u00e9", max_size=3), plain, max_size=4))
def test_what_most_events_hold_takes_the_fast_path(payload: dict[str, Any]) -> None:
    assert canonical._is_plain(json.dumps(payload, ensure_ascii=False))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_written_as_ecmascript_and_a_second_implementation_write_it(double: float) -> None:
    text = as_stored([Number(repr(double))])
    assert jcs(text) == naive.jcs(text) == rfc8785.dumps([double])


@given(doubles)
def test_a_number_is_canonical_only_with_the_value_of_its_shortest_form(number: str) -> None:
    # The whole decimal expansion of a double, which is that of its shortest form only now and then.
    assert jcs(f"[{number}]") == naive.jcs(f"[{number}]")


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ("0", "0"), ("-0", "0"), ("0.0", "0"), ("-0.00", "0"), ("1", "1"), ("1.0", "1"), ("-1.50", "-1.5"),
        ("4.50", "4.5"),
        ("0.1", "0.1"), ("0.000001", "0.000001"), ("0.0000001", "1e-7"), ("0.00000012", "1.2e-7"),
        ("1000000000000000000000", "1e+21"), ("100000000000000000000", "100000000000000000000"),
        ("1" + "0" * 30, "1e+30"),
        ("123456789012345680000", "123456789012345680000"), ("9007199254740991", "9007199254740991"),
        ("-9007199254740992", "-9007199254740992"), ("9007199254740994", "9007199254740994"),
        ("333333333.3333333", "333333333.3333333"), ("1" + "7976931348623157" + "0" * 292, "1.7976931348623157e+308"),
        ("0." + "0" * 323 + "5", "5e-324"), ("0.002", "0.002"), ("1e21", "1e+21"), ("1E-7", "1e-7"),
        ("999999999999999", "999999999999999"),
    ],
)  # fmt: skip
def test_numbers_of_a_double_are_written_as_ecmascript_writes_them(stored: str, written: str) -> None:
    assert jcs(f'{{"n": [{stored}]}}') == f'{{"n":[{written}]}}'.encode()
    assert jcs(f'{{"n":{stored}}}') == f'{{"n":{written}}}'.encode()
    assert naive.jcs(f"[{stored}]") == f"[{written}]".encode()


@pytest.mark.parametrize(
    "stored",
    [
        "0.10000000000000000001", "9007199254740993", "-9007199254740993", "123456789012345678901234567890", "1e400",
        "1" + "0" * 400, "0." + "0" * 400 + "1", "1000000000000000000001", "0.1000000000000000055511151231257827",
        "18446744073709551616", "1.00000000000000000000000000001", "2" + "0" * 308, "7" * 5000, "0." + "7" * 16_000,
    ],
)  # fmt: skip
def test_numbers_that_no_double_has_take_the_raw_form(stored: str) -> None:
    assert jcs(f'{{"n": {stored}}}') is None
    assert jcs(f"[[{stored}]]") is None
    row = ROW._replace(metadata=f'{{"n": {stored}}}')
    members = json.loads(leaf_preimage(row))
    assert members["form"] == "raw"
    assert members["metadata"] == f'{{"n": {stored}}}'
    assert members["after_state"] == "{}"


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    keys = ["\uffff", "\U0001f600", "\ue000", "\ud7ff", "z", "\u00f6", "a", "", "Z", "1", "10", "\r", '"', "aa"]
    text = as_stored({key: Number(place) for place, key in enumerate(keys)})
    assert (
        jcs(text)
        == (
            '{"":7,"\\r":11,"\\"":12,"1":9,"10":10,"Z":8,"a":6,"aa":13,"z":4,"ö":5,"\ud7ff":3,"\U0001f600":1,"\ue000":2,"\uffff":0}'
        ).encode()
    )


def test_strings_are_escaped_no_more_than_they_must() -> None:
    text = as_stored({"s": '\b\t\n\f\r"\\/\x01\x1f\x7f\x80\u2028\u2029é😀<>&'})
    assert jcs(text) == '{"s":"\\b\\t\\n\\f\\r\\"\\\\/\\u0001\\u001f\x7f\x80\u2028\u2029é😀<>&"}'.encode()


def test_escapes_mean_what_they_stand_for() -> None:
    assert jcs('{"\\ud83d\\ude00": 1, "\\ue000": 2, "\\u0041\\/": 3}') == '{"A/":3,"😀":1,"\ue000":2}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_nesting_beyond_64_takes_the_raw_form(opening: str, closing: str) -> None:
    for between, raw in ((62, False), (63, True), (100_000, True)):
        nested = '{"a": ' + opening * between + "{}" + closing * between + "}"
        assert (jcs(nested) is None) is raw
        preimage = leaf_preimage(ROW._replace(before_state=nested))
        assert (b'"form":"raw"' in preimage) is raw
        assert hashlib.sha256(b"\0" + preimage).digest() == leaf_hash(ROW._replace(before_state=nested))
    assert jcs('{"a": ' + opening * 62 + "{}" + closing * 62 + "}") == naive.jcs(
        '{"a": ' + opening * 62 + "{}" + closing * 62 + "}"
    )
    assert naive.jcs('{"a": ' + opening * 63 + "{}" + closing * 63 + "}") is None


def test_brackets_in_strings_and_beside_each_other_are_no_nesting() -> None:
    wide = as_stored({"a": "[" * 100 + '{"\\', "b": [[] for _ in range(100)]})
    assert jcs(wide) == rfc8785.dumps(json.loads(wide))


def test_what_is_no_json_is_an_error_and_never_a_leaf() -> None:
    for text in ("", "{", '{"a": NaN}', '{"a": [Infinity, 1.5]}', '{"a": 01}', "{'a': 1}"):
        with pytest.raises(ValueError):  # noqa: PT011  two parsers, two messages
            jcs(text)


def test_a_preimage_holds_every_column_that_is_not_null_and_the_version() -> None:
    whole = ROW._replace(correlation_id="op_1", source="web", before_state='{"a": 1}')
    members = json.loads(leaf_preimage(whole))
    assert members == {
        **whole._asdict(),
        "identity": bytes(range(32)).hex(),
        "before_state": {"a": 1},
        "after_state": {},
        "metadata": {},
        "version": 1,
    }
    assert set(json.loads(leaf_preimage(ROW))) == set(members) - {"correlation_id", "source", "before_state"}


rows = st.builds(
    EventRow,
    *[st.uuids().map(str)] * 2,
    *[st.sampled_from(["1970-01-01T00:00:00.000000Z", "2026-12-31T23:59:59.999999Z"])] * 2,
    *[texts] * 4,
    st.none() | texts,
    st.none() | st.binary(min_size=32, max_size=32),
    *[texts] * 2,
    *[st.none() | texts] * 2,
    st.integers(-(2**15), 2**15 - 1),
    *[st.none() | objects] * 2,
    objects,
)


@given(rows)
def test_every_row_has_the_preimage_of_a_second_implementation(row: EventRow) -> None:
    assert leaf_preimage(row) == naive.preimage(row._asdict())
    assert leaf_hash(row) == hashlib.sha256(b"\0" + naive.preimage(row._asdict())).digest()


@given(rows, rows, st.data())
def test_rows_that_differ_in_any_column_have_different_leaves(
    row: EventRow, other: EventRow, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(EventRow._fields))
    changed = row._replace(**{name: getattr(other, name)})

    def value(one: EventRow) -> Any:
        column: Any = getattr(one, name)
        # A payload is its value, where there is one.
        return naive.jcs(column) or column if name.endswith(("_state", "metadata")) and column else column

    assert (leaf_hash(changed) == leaf_hash(row)) == (value(changed) == value(row))


def test_a_null_is_not_an_empty_object_and_not_a_missing_member() -> None:
    leaves = {leaf_hash(ROW._replace(before_state=state)) for state in (None, "{}", '{"a": null}', '{"a": {}}')}
    assert len(leaves) == 4


def test_the_raw_form_is_no_canonical_form_of_another_event() -> None:
    raw = ROW._replace(metadata='{"n": 0.10000000000000000001}')
    near = ROW._replace(metadata='{"n": 0.1}')
    assert len({leaf_hash(raw), leaf_hash(near), leaf_hash(raw._replace(after_state=None))}) == 3


def test_the_order_of_keys_and_spaces_of_the_database_do_not_matter() -> None:
    one, two = ('{"b": 1, "aa": [1, 2]}', '{"aa":[1,2],"b":1}')
    assert leaf_hash(ROW._replace(metadata=one)) == leaf_hash(ROW._replace(metadata=two))


def test_a_row_is_read_from_the_types_of_a_driver() -> None:
    typed: list[object] = list(ROW)
    typed[0], typed[1] = UUID(ROW.log_id), UUID(ROW.id)
    typed[2] = datetime(2026, 1, 31, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5)))
    typed[3] = datetime(2026, 1, 31, 9, 0, 0, 200000, tzinfo=UTC)
    typed[9] = memoryview(bytes(range(32)))
    assert EventRow.read(typed) == EventRow.read(ROW) == ROW


@pytest.mark.parametrize("column", [{}, [], 1.5, datetime(2026, 1, 31)])  # noqa: DTZ001  that it has no zone is the point
def test_a_column_of_another_type_is_refused(column: object) -> None:
    with pytest.raises(TypeError):
        EventRow.read([*ROW[:-1], column])
    with pytest.raises(TypeError):
        EventRow.read(ROW[:-1])


def test_orjson_still_writes_strings_as_rfc_8785_does() -> None:
    every = ["".join(map(chr, [*range(1, 0xD800), *range(0xE000, 0x10000)]))]
    assert orjson.dumps(every) == rfc8785.dumps(every) == naive.jcs(json.dumps(every))


def rfc8785_writes(preimage: bytes) -> bool:
    """Whether RFC 8785 writes it in the same bytes, and loses no digit, by the library and by Decimals."""
    try:
        # RFC 8785 knows doubles alone; the library refuses an int that JavaScript would not call safe.
        value = json.loads(preimage, parse_int=lambda token: int(token) if len(token) < 16 else float(token))
        return rfc8785.dumps(value) == preimage and naive.jcs(preimage.decode()) == preimage
    except (ValueError, TypeError, OverflowError):
        return False


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: orjson.dumps(number).decode()),
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**20), max_value=10**20).map(str),
    st.sampled_from(
        ["-0", "-0.0", "1.0", "1.50", "1E5", "1e5", "1e+21", "1e21", "0.000001", "1e-7", "1e-07", "0.00001"]
    ),
)


@example(number="0.000001", form='{"a":%s}')
@example(number="-0.00000123", form='{"a":[1,%s]}')
@example(number="9007199254740992", form='{"a":%s}')
@example(number="10115046942522684", form='{"a":[%s]}')
@given(number=NUMBERS, form=st.sampled_from(['{"a":%s}', '{"a":[%s]}', '{"a":[1,%s]}', '{"a":{"b":%s}}']))
def test_a_preimage_is_read_only_with_canonical_numbers(number: str, form: str) -> None:
    """Two ways to write a number must not be two preimages of what means the same."""
    start = leaf_preimage(ROW)
    preimage = start.replace(b'"metadata":{}', b'"metadata":' + (form % number).encode())
    assert preimage != start
    if rfc8785_writes(preimage):
        assert read_preimage(preimage)["metadata"] == json.loads(form % number)
    else:
        with pytest.raises(ValueError, match=r"."):
            read_preimage(preimage)


@given(texts, texts)
def test_a_preimage_is_read_with_any_text(key: str, value: str) -> None:
    row = ROW._replace(metadata=as_stored({key: value, "\U00010000": 1.5, "\ue000": []}))
    preimage = leaf_preimage(row)
    several = [leaf_preimage(ROW), preimage, leaf_preimage(ROW)]
    assert read_preimages(several) == [json.loads(one) for one in several]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1}', b'"version":2}'),
        (b'"version":1}', b'"version":"1"}'),
        (b'"version":1}', b'"version":true}'),
        (b'"metadata":{}', b'"metadata":"{}"'),
        (b'"metadata":{}', b'"metadata":[]'),
        (b'"metadata":{}', b'"metadata":{"a":1,"a":1}'),
        (b'"metadata":{}', b'"metadata":{"b":1,"a":1}'),
        (b'"metadata":{}', b'"metadata":{"a": 1}'),
        (b'"metadata":{}', b'"metadata":{"a":"\\u00e9"}'),
        (b'"id":"', b'"ie":"'),
        (b'"outcome":"success"', b'"outcome":null'),
        (b'{"action"', b'{"Action"'),
        (b"}", b"} "),
    ],
)
def test_what_no_row_has_for_a_preimage_is_not_read(old: bytes, new: bytes) -> None:
    preimage = leaf_preimage(ROW)
    assert old in preimage
    with pytest.raises(ValueError, match=r"."):
        read_preimage(preimage.replace(old, new))


@pytest.mark.parametrize(("levels", "stands"), [(64, True), (65, False)])
def test_a_preimage_is_read_as_deep_as_the_canonical_form_goes(levels: int, stands: bool) -> None:  # noqa: FBT001
    nested = b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)
    preimage = leaf_preimage(ROW).replace(b'"metadata":{}', b'"metadata":' + nested)
    if stands:
        assert read_preimage(preimage)["version"] == 1
    else:
        with pytest.raises(ValueError, match="canonical"):
            read_preimage(preimage)
