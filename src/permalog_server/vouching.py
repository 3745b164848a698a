"""Letting others vouch for the logs: every minute, anchors go out and witnesses are asked.

It stands beside sealing and never holds it up: what fails here is told, and tried again a minute later.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from permalog.errors import InvalidPolicy, InvalidQuery, PermalogError
from permalog.postgres.database import Database
from permalog.postgres.health import Check
from permalog.sealing.sealer import may_seal
from permalog.tlog.witness_policy import WitnessPolicy
from permalog.witnessing.anchor_folder import AnchorFolder
from permalog.witnessing.anchoring import AnchorLog, Failure, Step
from permalog.witnessing.cosigning import Round, Standing, collect, standing
from permalog_server.metrics import REGISTRY
from permalog_server.outgoing import HttpPlace, ask_witness
from permalog_server.wiring import settings, signing

if TYPE_CHECKING:
    from collections.abc import Generator

    from prometheus_client.core import Metric

    from permalog import Permalog
    from permalog.sealing.signing import Signing
    from permalog.tlog.witness_policy import WitnessAddress
    from permalog.witnessing.anchoring import AnchorPlace
    from permalog_server.wiring import Place

_log: Final = structlog.get_logger("permalog.anchoring")

EVERY_SECONDS: Final = 60.0


class Vouched(NamedTuple):
    """What one round brought."""

    anchored: Step
    failures: list[Failure]
    """Places that did not take their anchors."""
    rounds: list[Round]
    """How it went with each witness."""
    standing: Standing | None
    """None: there is no policy."""

    @property
    def is_well(self) -> bool:
        """Whether nothing went wrong."""
        return not self.failures and not any(one.failures for one in self.rounds)


class Vouching:
    """Anchors and asks, by the settings.

    Raises:
        InvalidPolicy: the policy cannot be read.
        InvalidQuery: a setting breaks a rule.
        Malformed: the origin is none.
    """

    def __init__(self, database: Database, found: Signing) -> None:
        chosen = settings()
        self._database: Final = database
        self._anchors: Final = AnchorLog(database, found.keys.signer, found.origin, found.outside)
        self.policy: Final = read_policy()
        self._places: Final[list[AnchorPlace]] = []
        if chosen.anchor_dir is not None:
            self._places.append(AnchorFolder(chosen.anchor_dir))
        if chosen.anchor_url is not None:
            if not chosen.anchor_url.startswith(("http://", "https://")):
                raise InvalidQuery("PERMALOG_ANCHOR_URL", "must be an http:// or https:// address")
            self._places.append(HttpPlace(chosen.anchor_url, chosen.anchor_token))

    def round(self, *, new_epoch: bool = False) -> Vouched:
        """Anchors what changed, hands it to the places, and asks all witnesses, each in a thread of its own.

        Raises:
            AnchorConflict: what was published is not in this database.
            DatabaseProblem: the login may not.
        """
        grown = self._anchors.grow(new_epoch=new_epoch)
        failures = self._anchors.publish(self._places)
        if self.policy is None:
            return Vouched(grown, failures, [], None)
        witnesses = self.policy.witnesses
        with ThreadPoolExecutor(len(witnesses), "permalog-witness") as threads:
            rounds = list(threads.map(self._ask, witnesses))
        return Vouched(grown, failures, rounds, standing(self._database, self.policy))

    def _ask(self, witness: WitnessAddress) -> Round:
        return collect(self._database, witness, ask_witness)


class VouchingThread:
    """Rounds in the background, and what they brought last."""

    def __init__(self, vouching: Vouching) -> None:
        self._vouching: Final = vouching
        self._stop: Final = threading.Event()
        self._last: Vouched | None = None
        self._errors = 0
        self._anchored = 0
        self._thread: Final = threading.Thread(target=self._run, name="permalog-anchor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends after the round that goes on."""
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self._last = self._vouching.round()
                self._anchored += self._last.anchored.added
                tell(self._last)
                self._errors += not self._last.is_well
            except (PermalogError, psycopg.Error) as error:
                self._errors += 1
                _log.error("nothing was anchored", reason=str(error).strip().partition("\n")[0], exc_info=True)

    def collect(self) -> Generator[Metric]:
        """What Prometheus reads."""
        yield CounterMetricFamily("permalog_anchored_checkpoints", "Checkpoints that were anchored.", self._anchored)
        yield CounterMetricFamily(
            "permalog_anchoring_errors", "Rounds in which a place or a witness failed.", self._errors
        )
        last = self._last.standing if self._last else None
        unwitnessed = math.nan if last is None else last.unwitnessed
        yield GaugeMetricFamily(
            "permalog_unwitnessed_logs", "Logs that have lacked a quorum of witnesses for five minutes.", unwitnessed
        )


def tell(found: Vouched) -> None:
    """Logs what went wrong; no sentence names an owner."""
    for place, reason in found.failures:
        _log.warning("an anchor was not published", place=place, reason=reason)
    for one in found.rounds:
        for reason in one.failures:
            _log.warning("a witness did not cosign", witness=one.witness, reason=reason)


@contextmanager
def vouching(log: Permalog, place: Place) -> Generator[None]:
    """Anchors and asks in a thread, where there is a key and the login may; else somebody else must."""
    found = signing(place) if may_seal(log.database) else None
    if found is None:
        yield
        return
    thread = VouchingThread(Vouching(log.database, found))
    REGISTRY.register(thread)
    try:
        yield
    finally:
        REGISTRY.unregister(thread)
        thread.close()


def witnesses(url: str) -> list[Check]:
    """What the doctor finds of the witnesses; nothing where there is no policy."""
    try:
        policy = read_policy()
        if policy is None:
            return []
        database = Database(url)
        try:
            found = standing(database, policy)
        finally:
            database.close()
    except (PermalogError, psycopg.Error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return [Check("witnesses", "wrong", reason, "see docs/witness.md")]
    said = f"{found.trees - found.unwitnessed} of {found.trees} trees have a quorum of {policy.quorum}"
    if not found.unwitnessed:
        return [Check("witnesses", "ok", said)]
    remedy = "`permalog anchor --once` says what the witnesses answer; writing and sealing go on meanwhile"
    return [Check("witnesses", "wrong", f"{said}, the others lack it for more than five minutes", remedy)]


def read_policy() -> WitnessPolicy | None:
    """The witness policy of the settings; None: none is set.

    Raises:
        InvalidPolicy: it cannot be read, or breaks a rule.
    """
    path = settings().witness_policy
    if path is None:
        return None
    try:
        return WitnessPolicy.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPolicy(f"{path} (PERMALOG_WITNESS_POLICY) cannot be read: {error}") from error
