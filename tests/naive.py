"""Second implementations, written from the specifications and for clarity: what the library must agree with.

RFC 6962 by its definitions over lists, the verifiers of RFC 9162 (sections 2.1.3.2 and 2.1.4.2), RFC 8785 over
Decimals.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

STANDARD_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
    )
]  # fmt: skip
STANDARD_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def split(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256()
    k = split(len(leaves))
    return sha256(b"\1", root(leaves[:k]), root(leaves[k:]))


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), root(leaves[k:])]
    return [*path(index - k, leaves[k:]), root(leaves[:k])]


def proof(old: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b)."""
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*proof(old, leaves[:k], whole=whole), root(leaves[k:])]
    return [*proof(old - k, leaves[k:], whole=False), root(leaves[:k])]


def included(leaf: bytes, index: int, size: int, hashes: Sequence[bytes], expected: bytes) -> bool:
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in hashes:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = sha256(b"\1", p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\1", r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == expected


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, hashes: Sequence[bytes]) -> bool:
    if old == new:
        return not hashes and old_root == new_root
    if not hashes:
        return False
    if old & (old - 1) == 0:
        hashes = [old_root, *hashes]
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes[0]
    for c in hashes[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = sha256(b"\1", c, fr), sha256(b"\1", c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha256(b"\1", sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == new_root


def preimage(columns: Mapping[str, Any]) -> bytes:
    """What is hashed of an event's columns, by the words of docs/record-format.md, with nothing of the library."""
    members = {name: column for name, column in columns.items() if column is not None}
    if "identity" in members:
        members["identity"] = members["identity"].hex()
    payloads = {name: members.pop(name) for name in ("before_state", "after_state", "metadata") if name in members}
    forms = {name: jcs(text) for name, text in payloads.items()}
    if None in forms.values():
        forms = {name: jcs(json.dumps(text)) for name, text in payloads.items()}
        members["form"] = "raw"
    members["version"] = 1
    parts = forms | {name: jcs(json.dumps(column)) for name, column in members.items()}
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), part) for name, part in sorted(parts.items()) if part) + b"}"


def jcs(text: str) -> bytes | None:
    """RFC 8785 over exact numbers; None where one of them is not that of its double, or the nesting is too deep."""
    value = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    written = _written(value, 0)
    return None if written is None else written.encode()


def _written(value: Any, depth: int) -> str | None:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case Decimal():
            return _number(value)
        case str():
            return '"' + "".join(map(_character, value)) + '"'
        case _ if depth == 64:
            return None
        case list():
            parts = [_written(inside, depth + 1) for inside in value]
            around = "[]"
        case _:
            keys = sorted(value, key=_code_units)
            inside = [(_written(key, 0), _written(value[key], depth + 1)) for key in keys]
            parts = [None if written is None else f"{key}:{written}" for key, written in inside]
            around = "{}"
    return None if None in parts else around[0] + ",".join(filter(None, parts)) + around[1]


def _code_units(text: str) -> list[int]:
    units: list[int] = []
    for point in map(ord, text):
        units += [point] if point < 0x10000 else [0xD800 + (point - 0x10000 >> 10), 0xDC00 + (point - 0x10000 & 0x3FF)]
    return units


def _character(character: str) -> str:
    named = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    return named.get(character) or (f"\\u{ord(character):04x}" if character < " " else character)


def _number(value: Decimal) -> str | None:
    """Number::toString of ECMAScript: digits s, of which there are k, and the point behind the n-th."""
    double = float(value)
    if double in {float("inf"), float("-inf")} or Decimal(repr(double)) != value:
        return None
    if value == 0:
        return "0"
    _, given, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    s = "".join(map(str, given)).lstrip("0")
    n = len(s) + exponent
    s = s.rstrip("0")
    k = len(s)
    sign = "-" if value < 0 else ""
    if k <= n <= 21:
        return sign + s + "0" * (n - k)
    if 0 < n <= 21:
        return f"{sign}{s[:n]}.{s[n:]}"
    if -6 < n <= 0:
        return f"{sign}0.{'0' * -n}{s}"
    mantissa = s if k == 1 else f"{s[0]}.{s[1:]}"
    return f"{sign}{mantissa}e{'+' if n > 0 else '-'}{abs(n - 1)}"
