"""Sealing inside a process that does other things, too."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from permalog.sealing import SealingThread, may_seal
from permalog_server import logs
from permalog_server.metrics import REGISTRY, SealerMetrics
from permalog_server.wiring import signing

if TYPE_CHECKING:
    from collections.abc import Generator

    from permalog import Permalog
    from permalog_server.wiring import Place

_log: Final = structlog.get_logger("permalog.sealing")


@contextmanager
def sealing(log: Permalog, place: Place) -> Generator[None]:
    """Seals in a thread and on a connection of its own, where the login may; else somebody else must.

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
    thread = SealingThread(log.database, found)
    metrics = SealerMetrics(log.database, thread)
    REGISTRY.register(metrics)
    try:
        yield
    finally:
        REGISTRY.unregister(metrics)
        thread.close()
