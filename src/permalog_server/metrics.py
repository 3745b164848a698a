"""Metrics for Prometheus: how the service does. They name routes, never people, organisations or logs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import psycopg
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from permalog.errors import PermalogError
from permalog.sealing.sealer import backlog

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from prometheus_client.core import Metric

    from permalog import Permalog
    from permalog.postgres.database import Database
    from permalog.postgres.keeping import KeepingThread
    from permalog.sealing.sealer import SealingThread

REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "permalog_http_requests", "Requests answered.", ("method", "route", "status"), registry=REGISTRY
)
DURATION: Final = Histogram(
    "permalog_http_request_duration_seconds", "From the first byte in to the last out.", ("route",), registry=REGISTRY
)
IN_FLIGHT: Final = Gauge("permalog_http_requests_in_flight", "Requests in work.", registry=REGISTRY)
ProcessCollector(registry=REGISTRY)


class RecorderMetrics:
    """The recorder's numbers at the moment they are asked for."""

    def __init__(self, log: Permalog) -> None:
        self._log: Final = log

    def collect(self) -> Generator[Metric]:
        """What Prometheus reads."""
        stats = self._log.stats
        events = CounterMetricFamily("permalog_recorder_events", "Events by what became of them.", labels=["result"])
        for result in ("accepted", "stored", "duplicates", "failed", "dropped", "quarantined", "adopted", "damaged"):
            events.add_metric([result], getattr(stats, result))
        yield events
        yield GaugeMetricFamily("permalog_recorder_waiting", "Events that wait for the database.", stats.waiting)
        yield GaugeMetricFamily("permalog_recorder_waiting_bytes", "Their size in the spool.", stats.waiting_bytes)
        yield GaugeMetricFamily(
            "permalog_recorder_oldest_seconds", "For how long the oldest has waited.", stats.oldest_seconds
        )


class SealerMetrics:
    """The sealer's numbers, and how many events wait for it."""

    def __init__(self, database: Database, sealer: SealingThread) -> None:
        self._database: Final = database
        self._sealer: Final = sealer

    def collect(self) -> Generator[Metric]:
        """What Prometheus reads."""
        stats = self._sealer.stats
        done = CounterMetricFamily("permalog_sealer", "What the sealer of this process has done.", labels=["what"])
        for what in ("events", "batches", "checkpoints", "raw", "errors"):
            done.add_metric([what], getattr(stats, what))
        yield done
        yield GaugeMetricFamily("permalog_sealer_failing_logs", "Logs that fail to be sealed.", len(stats.refused))
        last = 0.0 if stats.sealed_at is None else stats.sealed_at.timestamp()
        yield GaugeMetricFamily("permalog_sealer_last_seal_timestamp_seconds", "When it last sealed; 0: never.", last)
        yield GaugeMetricFamily(
            "permalog_sealer_lag_seconds", "How long the latest batch's oldest had waited.", stats.lag
        )
        waiting, since = _backlog(self._database)
        yield GaugeMetricFamily("permalog_unsealed_events", "Events that wait for sealing, up to 100,000.", waiting)
        age = 0.0 if since is None else max(0.0, time.time() - since.timestamp())
        yield GaugeMetricFamily("permalog_unsealed_oldest_seconds", "How long the oldest of them has waited.", age)


class KeeperMetrics:
    """What the keeper of this process has done to the partitions."""

    def __init__(self, keeper: KeepingThread) -> None:
        self._keeper: Final = keeper

    def collect(self) -> Generator[Metric]:
        """What Prometheus reads."""
        stats = self._keeper.stats
        done = CounterMetricFamily("permalog_keeper", "What the keeper of this process has done.", labels=["what"])
        for what in ("made", "cut", "indexed", "postponed", "errors"):
            done.add_metric([what], getattr(stats, what))
        yield done
        yield GaugeMetricFamily("permalog_partitions", "Partitions of the events.", stats.partitions)
        yield GaugeMetricFamily(
            "permalog_unindexed_partitions", "Closed partitions that wait for their search index.", stats.unindexed
        )


def _backlog(database: Database) -> tuple[float, datetime | None]:
    try:
        return backlog(database)
    except (PermalogError, psycopg.Error):
        return math.nan, None  # the other metrics are there without a database, too


def exposition() -> bytes:
    """All metrics, as text."""
    return generate_latest(REGISTRY)
