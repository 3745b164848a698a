"""Metrics for Prometheus: how the service does. They name routes, never people, organisations or logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Generator

    from prometheus_client.core import Metric

    from permalog import Permalog

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
        for result in ("accepted", "stored", "duplicates", "failed"):
            events.add_metric([result], getattr(stats, result))
        yield events
        yield GaugeMetricFamily("permalog_recorder_waiting", "Events that wait for the database.", stats.waiting)


def exposition() -> bytes:
    """All metrics, as text."""
    return generate_latest(REGISTRY)
