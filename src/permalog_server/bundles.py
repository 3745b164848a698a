"""Verifying an evidence bundle from the command line: the file and a public key; no database, no network."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from permalog.bundle_verifier import verify_bundle
from permalog.errors import InvalidQuery, NotProven
from permalog.findings import Finding, VerifyCode
from permalog.note import VerifierKey
from permalog_server.output import print_json, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from permalog.bundle import Manifest, Place
    from permalog.bundle_verifier import VerifiedBundle

PROVEN: Final = 0
BROKEN: Final = 1
UNCHECKED: Final = 2
"""The exit codes of `permalog verify`."""

_UNTRUSTED: Final = Finding(
    VerifyCode.NOT_SIGNED,
    "no key was given: the file is whole, but whose log it is, it says only itself; give the log's key with --key",
)


def keys_of(texts: Iterable[str], field: str = "key") -> list[VerifierKey]:
    """Verifier keys as they are written on the command line.

    Raises:
        InvalidQuery: one is none.
    """
    try:
        return [VerifierKey.parse(text) for text in texts]
    except NotProven as error:
        raise InvalidQuery(field, str(error)) from error


def verify_file(
    path: Path, keys: Sequence[VerifierKey], witnesses: Sequence[VerifierKey] = (), *, as_json: bool = False
) -> int:
    """Verifies a bundle, says what it shows or where it breaks, and returns the exit code.

    Raises:
        InvalidQuery: the file cannot be read.
    """
    try:
        with path.open("rb") as file, _progress() as progress:
            found = verify_bundle(file, keys, witnesses=witnesses, progress=progress)
    except OSError as error:
        raise InvalidQuery("bundle", f"cannot be read: {error.strerror}") from error
    except NotProven as error:
        return _say_broken(path, error, as_json=as_json)
    if as_json:
        notices = [] if found.is_trusted else [_UNTRUSTED.as_json()]
        print_json({"proven": True, "findings": notices, "bundle": found.as_json()})
    else:
        _say_proven(path, found)
    return PROVEN


def _say_broken(path: Path, error: NotProven, *, as_json: bool) -> int:
    if as_json:
        finding = {"code": error.code.value, "severity": "failure", "message": str(error)}
        print_json({"proven": False, "findings": [finding], "bundle": None})
    else:
        print(f"{printable(str(path))}: NOT PROVEN: {printable(str(error))}")
    return BROKEN


def _say_proven(path: Path, found: VerifiedBundle) -> None:
    rows = [*_facts(found.manifest), *_signers(found)]
    print(f"{printable(str(path))}: {'proven' if found.is_trusted else 'whole, and its signer not known'}")
    for name, value in rows:
        print(f"  {name + ':':<12}{printable(value)}")
    if not found.is_trusted:
        print(f"notice: {_UNTRUSTED.message}")


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    counts, owner = manifest.counts, manifest.owner
    query = manifest.query.model_dump(exclude_none=True)
    whose = f"org:{owner.organization_id}" if owner.organization_id else f"user:{owner.user_id}"
    return [
        ("log", f"{manifest.origin} ({whose})"),
        ("asked", ", ".join(f"{name}={_shown(value)}" for name, value in query.items()) or "everything"),
        ("as of", f"{manifest.as_of}, for {'staff' if manifest.viewer == 'staff' else 'a customer: staff are masked'}"),
        (
            "events",
            f"{counts.events:,}, with {counts.left_out:,} left out between them, of {manifest.tree.size:,} leaves",
        ),
        ("first", _place(manifest.first)),
        ("last", _place(manifest.last)),
        ("identities", f"{counts.identities:,} opened"),
        ("not sealed", f"{counts.unsealed:,} matching events were not sealed, or are of another epoch"),
    ]


def _signers(found: VerifiedBundle) -> list[tuple[str, str]]:
    signers = [("signed by", str(one.key)) for one in found.checkpoint.signatures]
    return signers + [
        ("witness", f"{one.key} at {datetime.fromtimestamp(one.time or 0, UTC):%Y-%m-%dT%H:%M:%SZ}")
        for one in found.checkpoint.cosignatures
    ]


def _place(place: Place | None) -> str:
    return "none" if place is None else f"{place.occurred_at}, leaf {place.leaf_index}, event {place.id}"


def _shown(value: Any) -> str:  # noqa: ANN401  a text, or several
    return "|".join(value) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownArgumentType]


@contextmanager
def _progress() -> Generator[Callable[[int], object]]:
    """A count with its rate on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import Progress, SpinnerColumn, TextColumn  # noqa: PLC0415

    began, done = time.monotonic(), 0
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("verifying", total=None)

        def show(events: int) -> None:
            nonlocal done
            done += events
            rate = done / max(time.monotonic() - began, 0.001)
            bar.update(task, description=f"{done:,} events, {rate:,.0f} a second")

        yield show
