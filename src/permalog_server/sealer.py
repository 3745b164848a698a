"""Sealing, and keeping the partitions, inside a process that does other things, too."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from permalog.postgres.keeping import KeepingThread
from permalog.sealing.sealer import SealingThread, may_seal
from permalog_server import logs
from permalog_server.metrics import REGISTRY, KeeperMetrics, SealerMetrics
from permalog_server.wiring import signing

if TYPE_CHECKING:
    from collections.abc import Generator

    from permalog import Permalog
    from permalog_server.wiring import Place

_log: Final = structlog.get_logger("permalog.sealing")


@contextmanager
def sealing(log: Permalog, place: Place) -> Generator[None]:
    """Seals and keeps the partitions, in threads of their own, where the login may; else somebody else must.

    Raises:
        KeyUnusable: the signing key cannot be used.
    """
    logs.configure()
    if not may_seal(log.database):
        _log.warning("not sealing here: this login is no member of permalog_sealer; run `permalog seal` elsewhere")
        yield
        return
    found = signing(place)
    if found is None:
        _log.warning("sealing without a signature: PERMALOG_SIGNING_KEY is not set")
    sealer, keeper = SealingThread(log.database, found), KeepingThread(log.database)
    metrics = [SealerMetrics(log.database, sealer), KeeperMetrics(keeper)]
    for one in metrics:
        REGISTRY.register(one)
    try:
        yield
    finally:
        for one in metrics:
            REGISTRY.unregister(one)
        keeper.close()
        sealer.close()
