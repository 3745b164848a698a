"""Logs: one JSON object a line on standard error, without personal data; what libraries log goes the same way.

An error is told by its types and by where it happened. Its message is left out: those of drivers hold the values that
were to be stored, and those of parsers what could not be read.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

if TYPE_CHECKING:
    from types import TracebackType

    from structlog.typing import EventDict, Processor, WrappedLogger

_FRAMES: Final = 30
"""Of an error, the innermost; a recursion has a thousand."""

_MESSAGE: Final = 500


def configure(level: int = logging.INFO) -> None:
    """Makes this process log so; uvicorn must be told to leave its own loggers alone (``log_config=None``)."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, _errors, structlog.processors.JSONRenderer(serializer=_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _errors, _first_line, _as_text],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # It tells of every request by its path and query.
    logging.getLogger("uvicorn.access").disabled = True
    sys.excepthook = _hook


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger("permalog").critical("crash", exc_info=(kind, error, trace))


def _errors(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Puts in place of an exception what may be known of it."""
    error: BaseException | None = None
    match event.pop("exc_info", None):
        case BaseException() as given:
            error = given
        case (_, BaseException() as given, _):
            error = given
        case True:
            error = sys.exc_info()[1]
        case _:
            pass
    if error is not None:
        event["error"] = _told(error)
    return event


def _first_line(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Of a library's message: asyncio shows exceptions and all they say in the lines that follow."""
    event["event"] = (str(event["event"]).splitlines() or [""])[0][:_MESSAGE]
    return event


def _told(error: BaseException | None) -> list[dict[str, Any]]:
    chain: list[dict[str, Any]] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        chain.append(
            {
                "type": f"{type(error).__module__}.{type(error).__qualname__}",
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return chain


def _json(event: EventDict, **_: object) -> bytes:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)


def _as_text(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return _json(event).decode()
