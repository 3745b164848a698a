"""The zip of an evidence bundle: one way to write it, and nothing else is read. Pure functions over files and bytes.

    for each member       a local header, its name, what it holds (deflated, or as it is)
    then                  the central directory, and its end; no comment, no data descriptors, nothing in between

All fields that say nothing here (times, attributes, versions) are constants, so that the file follows from its members.
Where a number does not fit, the fields of zip64 stand in their places, and only there. docs/evidence-bundle.md has it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import BinaryIO, Final, Literal, NamedTuple, TypeAlias

from permalog.errors import BundleCode, Malformed

Method: TypeAlias = Literal[0, 8]
STORED: Final = 0
DEFLATED: Final = 8

MAX_MEMBERS: Final = 16
"""Bounds what a hostile directory costs to read."""
_MAX_NAME: Final = 64
_CHUNK: Final = 1 << 18
_LEVEL: Final = 6
_FULL: Final = 0xFFFFFFFF
_MOMENT: Final = 0x00210000
"""1980-01-01 00:00:00, the first that zip can say."""
_LOCAL: Final = struct.Struct("<4s3HI3I2H")
_CENTRAL: Final = struct.Struct("<4s4HI3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR: Final = struct.Struct("<4sIQI")


class Member(NamedTuple):
    """A member of the file: its name, and what its bytes are before and after packing."""

    name: str
    method: Method
    size: int
    crc: int
    packed_size: int

    def local_header(self) -> bytes:
        """What stands before its bytes."""
        wide = max(self.size, self.packed_size) >= _FULL
        extra = struct.pack("<2H2Q", 1, 16, self.size, self.packed_size) if wide else b""
        sizes = (_FULL, _FULL) if wide else (self.packed_size, self.size)
        name = self.name.encode()
        fixed = _LOCAL.pack(
            b"PK\3\4", _version(wide=wide), 0, self.method, _MOMENT, self.crc, *sizes, len(name), len(extra)
        )
        return fixed + name + extra

    def central_header(self, offset: int) -> bytes:
        """What stands for it in the directory."""
        values = (self.size, self.packed_size, offset)
        wide = [value for value in values if value >= _FULL]
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size, packed_size, at = (min(value, _FULL) for value in values)
        name, version = self.name.encode(), _version(wide=bool(wide))
        fixed = _CENTRAL.pack(
            b"PK\1\2", version, version, 0, self.method, _MOMENT, self.crc, packed_size, size,
            len(name), len(extra), 0, 0, 0, 0, at,
        )  # fmt: skip
        return fixed + name + extra


class Placed(NamedTuple):
    """A member, and where its header begins and its bytes begin."""

    member: Member
    offset: int
    start: int


class Packed(NamedTuple):
    """A member that was packed: the SHA-256 of its bytes before and after it, and the file that holds them."""

    member: Member
    sha256: bytes
    packed_sha256: bytes
    file: BinaryIO


class Packing:
    """Packs the bytes of one member, as they come, into a file that takes only this."""

    def __init__(self, name: str, file: BinaryIO, method: Method = DEFLATED) -> None:
        self.file: Final = file
        self._name: Final = name
        self._method: Final[Method] = method
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS) if method == DEFLATED else None
        self._inside, self._outside = hashlib.sha256(), hashlib.sha256()
        self._size = self._packed_size = self._crc = 0

    def write(self, data: bytes) -> None:
        """Takes the next bytes, best some thousand at a time."""
        self._inside.update(data)
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)
        self._put(self._packer.compress(data) if self._packer else data)

    def end(self) -> Packed:
        """The member, whose bytes are complete."""
        if self._packer:
            self._put(self._packer.flush())
        member = Member(self._name, self._method, self._size, self._crc, self._packed_size)
        return Packed(member, self._inside.digest(), self._outside.digest(), self.file)

    def _put(self, data: bytes) -> None:
        self._outside.update(data)
        self._packed_size += len(data)
        self.file.write(data)


def zipped(members: Iterable[Packed]) -> Generator[bytes]:
    """The file, in pieces; each member is read from the beginning of its own."""
    placed: list[tuple[Member, int]] = []
    at = 0
    for member, _, _, file in members:
        placed.append((member, at))
        header = member.local_header()
        yield header
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk
        at += len(header) + member.packed_size
    yield _directory(placed, at)


def read_directory(file: BinaryIO) -> list[Placed]:
    """The members of a file, in its order; their bytes are not looked at yet.

    1. From the first byte on, one local header after another, each as this format writes it, and its bytes. 2. Behind
    them, to the last byte, the directory that these headers ask for. 3. At most 16 members.

    Raises:
        Malformed: 1 and 2 (`FILE`), 3 (`LIMIT`).
    """
    end = file.seek(0, 2)
    found: list[Placed] = []
    at = 0
    while (placed := _read_local(file, at)) is not None:
        found.append(placed)
        at = placed.start + placed.member.packed_size
        if len(found) > MAX_MEMBERS:
            raise Malformed(BundleCode.LIMIT, f"the file has more than {MAX_MEMBERS} members")
        if at > end:
            raise Malformed(BundleCode.FILE, "the file is cut off")
    directory = _directory([(one.member, one.offset) for one in found], at)
    file.seek(at)
    if end - at != len(directory) or file.read(len(directory) + 1) != directory:
        raise Malformed(BundleCode.FILE, "the directory of the zip is not that of its members, or is not its end")
    return found


def packed_digest(file: BinaryIO, placed: Placed) -> bytes:
    """The SHA-256 of a member's bytes as they stand in the file."""
    digest = hashlib.sha256()
    for chunk in _packed(file, placed):
        digest.update(chunk)
    return digest.digest()


def unpacked(file: BinaryIO, placed: Placed, sha256: bytes) -> Iterator[bytes]:
    """The bytes of a member, in pieces, in constant memory. Several members may be read at once.

    1. Never more bytes than its header says. 2. The packed bytes end where what is packed ends. 3. Size and checksum
    are those of the header. 4. The digest is the one given. 2 to 4 are known with the last piece only.

    Raises:
        Malformed: one of these (`MEMBER`).
    """
    member = placed.member
    digest, size, crc = hashlib.sha256(), 0, 0
    for chunk in _packed(file, placed) if member.method == STORED else _inflated(file, placed):
        size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        if size > member.size:
            break
        digest.update(chunk)
        yield chunk
    if (size, crc) != (member.size, member.crc) or digest.digest() != sha256:
        raise _altered(member)


def _inflated(file: BinaryIO, placed: Placed) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _packed(file, placed):
            rest = packed
            # Bounded pieces: a few bytes can unpack to a thousand times as many.
            while rest:
                if chunk := inflater.decompress(rest, _CHUNK):
                    yield chunk
                rest = inflater.unconsumed_tail
            if inflater.unused_data:
                raise _altered(placed.member)
        while not inflater.eof and (chunk := inflater.decompress(b"", _CHUNK)):
            yield chunk
    except zlib.error:
        raise _altered(placed.member) from None
    if not inflater.eof:
        raise _altered(placed.member)


def _packed(file: BinaryIO, placed: Placed) -> Iterator[bytes]:
    at, end = placed.start, placed.start + placed.member.packed_size
    while at < end:
        file.seek(at)  # each time: another member may be read in between
        chunk = file.read(min(_CHUNK, end - at))
        if not chunk:
            raise _altered(placed.member)
        at += len(chunk)
        yield chunk


def _altered(member: Member) -> Malformed:
    return Malformed(BundleCode.MEMBER, f"the bytes of {member.name} are not those that were packed")


def _read_local(file: BinaryIO, at: int) -> Placed | None:
    """The member whose header stands here; None where there is no header."""
    file.seek(at)
    fixed = file.read(_LOCAL.size)
    if len(fixed) < _LOCAL.size or not fixed.startswith(b"PK\3\4"):
        return None
    _, _, _, method, _, crc, packed_size, size, name_size, extra_size = _LOCAL.unpack(fixed)
    if name_size > _MAX_NAME or extra_size not in {0, 20} or method not in {STORED, DEFLATED}:
        raise Malformed(BundleCode.FILE, "a header of the zip is not as this format writes it")
    rest = file.read(name_size + extra_size)
    if extra_size and len(rest) == name_size + extra_size:
        size, packed_size = struct.unpack("<2Q", rest[-16:])
    name = rest[:name_size].decode("ascii", "replace")
    member = Member(name, method, size, crc, packed_size)
    if member.local_header() != fixed + rest:
        raise Malformed(BundleCode.FILE, "a header of the zip is not as this format writes it")
    return Placed(member, at, at + len(fixed) + len(rest))


def _directory(placed: list[tuple[Member, int]], at: int) -> bytes:
    """The central directory that begins at an offset, and its end."""
    headers = b"".join(member.central_header(offset) for member, offset in placed)
    count, size, end = len(placed), len(headers), b""
    if at >= _FULL:
        end64 = _END64.pack(b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, count, count, size, at)
        end = end64 + _LOCATOR.pack(b"PK\6\7", 0, at + size, 1)
    return headers + end + _END.pack(b"PK\5\6", 0, 0, count, count, size, min(at, _FULL), 0)


def _version(*, wide: bool) -> int:
    return 45 if wide else 20
