"""Verifying an evidence bundle from the command line: the file and a public key; no database, no network."""

from __future__ import annotations

import gc
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from permalog.errors import InvalidPolicy, InvalidQuery, NotProven
from permalog.evidence.verifier import VerifiedBundle, inspect_bundle
from permalog.tlog.findings import Broken, Finding, VerifyCode
from permalog.tlog.note import VerifierKey
from permalog.tlog.witness_policy import WitnessPolicy
from permalog.verifying.outside import check_bundle, read_published
from permalog.witnessing.anchor_folder import AnchorFolder
from permalog_server.output import print_json, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from permalog.evidence.bundle import Manifest, Place
    from permalog.tlog.findings import Report

PROVEN: Final = 0
BROKEN: Final = 1
UNCHECKED: Final = 2
"""The exit codes of `permalog verify`."""

_MOST: Final = 1_000
"""Failures that are told."""
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


def policy_in(path: Path) -> WitnessPolicy:
    """A witness policy.

    Raises:
        InvalidQuery: it cannot be read, or is none.
    """
    try:
        return WitnessPolicy.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InvalidPolicy) as error:
        raise InvalidQuery("witness-policy", str(error)) from error


def published_in(folder: Path) -> dict[int, list[bytes]]:
    """All published anchors, by the epochs of the anchor log.

    Raises:
        InvalidQuery: there are none: whoever asks for them to be looked at must not be told that all is well.
    """
    published = AnchorFolder(folder)
    try:
        found = {epoch: list(published.texts(epoch)) for epoch in published.epochs()}
    except OSError as error:
        raise InvalidQuery("anchors", f"cannot be read: {error.strerror}") from error
    if not any(found.values()):
        raise InvalidQuery("anchors", "is no folder in which anchors were published")
    return found


@contextmanager
def collecting_rarely() -> Generator[None]:
    """While a process verifies: rows come and go by the million, and hardly any hold each other in a ring."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class Against(NamedTuple):
    """What a bundle is held to."""

    keys: Sequence[VerifierKey] = ()
    witnesses: Sequence[VerifierKey] = ()
    policy: WitnessPolicy | None = None
    anchors: Mapping[int, Iterable[bytes]] | None = None


def verify_file(path: Path, against: Against, *, keep_going: bool = False, as_json: bool = False) -> int:
    """Verifies a bundle, says what it shows or where it breaks, and returns the exit code.

    Raises:
        InvalidQuery: the file cannot be read.
    """
    findings: list[Finding] = []
    found: VerifiedBundle | None = None

    def report(finding: Finding) -> None:
        if finding.severity == "notice" or len(findings) < _MOST:
            findings.append(finding)
        if finding.severity == "failure" and not keep_going:
            raise Broken(finding)

    try:
        with path.open("rb") as file, _progress() as progress, collecting_rarely(), suppress(Broken):
            found = _inspected(file, against, report, progress)
    except OSError as error:
        raise InvalidQuery("bundle", f"cannot be read: {error.strerror}") from error
    proven = all(one.severity == "notice" for one in findings)
    if as_json:
        bundle = found.as_json() if found is not None and proven else None
        print_json({"proven": proven, "findings": [one.as_json() for one in findings], "bundle": bundle})
    elif found is not None and proven:
        _say_proven(path, found)
        for finding in findings:
            print(line_of(finding))
    else:
        print(f"{printable(str(path))}: NOT PROVEN")
        for finding in findings:
            print(line_of(finding))
    return PROVEN if proven else BROKEN


def _inspected(
    file: BinaryIO, against: Against, report: Report, progress: Callable[[int], object]
) -> VerifiedBundle | None:
    keys, policy = against.keys, against.policy
    witnesses = list(dict.fromkeys([*against.witnesses, *(policy.keys if policy else ())]))
    found = inspect_bundle(file, keys, witnesses=witnesses, progress=progress, helped=True, report=report)
    if found is None:
        return None
    anchored: dict[bytes, int] | None = None
    if against.anchors is not None:
        prefix = found.manifest.origin.partition("/log/")[0]
        known = keys or [one.key for one in found.checkpoint.signatures]
        anchored = read_published(against.anchors, prefix, known, witnesses, report)
    check_bundle(found, anchored, policy, report)
    if not found.is_trusted:
        report(_UNTRUSTED)
    return found


def line_of(finding: Finding) -> str:
    """For people."""
    where = [f"log {finding.log_id}"] if finding.log_id is not None else []
    where += [f"epoch {finding.epoch}"] if finding.epoch is not None and finding.epoch > 1 else []
    where += [f"leaf {finding.leaf_index}"] if finding.leaf_index is not None else []
    where += [f"event {finding.event_id}"] if finding.event_id is not None else []
    mark = "BROKEN" if finding.severity == "failure" else "notice"
    return f"{mark}  {finding.code}: {printable(finding.message)}{' (' + ', '.join(where) + ')' if where else ''}"


def _say_proven(path: Path, found: VerifiedBundle) -> None:
    rows = [*_facts(found.manifest), *_signers(found)]
    print(f"{printable(str(path))}: {'proven' if found.is_trusted else 'whole, and its signer not known'}")
    for name, value in rows:
        print(f"  {name + ':':<12}{printable(value)}")


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
