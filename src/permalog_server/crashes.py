"""Sentry, for those who use it."""

from __future__ import annotations

from permalog.errors import PermalogError


class SentryMissing(PermalogError):
    """PERMALOG_SENTRY_DSN is set, and the package that it needs is not installed."""


def watch(dsn: str) -> None:
    """Starts telling Sentry of crashes and of events that could not be recorded.

    Local variables and request data are never sent: they hold personal data.

    Raises:
        SentryMissing: the extra ``sentry`` is not installed.
        ValueError: the DSN is none.
    """
    try:
        import sentry_sdk  # noqa: PLC0415  an extra, and slow to load
    except ImportError:
        raise SentryMissing("PERMALOG_SENTRY_DSN is set, but permalog[sentry] is not installed") from None
    sentry_sdk.init(dsn=dsn, send_default_pii=False, include_local_variables=False)


def tell(error: BaseException) -> None:
    """Sends an unexpected error to Sentry, if it was started."""
    import sentry_sdk  # noqa: PLC0415  as above

    sentry_sdk.capture_exception(error)
    sentry_sdk.flush()
