"""What may go wrong in the security agent, as a branch of the library's tree of errors."""

from __future__ import annotations

from permalog import PermalogError


class AgentError(PermalogError):
    """The root of all errors of the security agent."""
