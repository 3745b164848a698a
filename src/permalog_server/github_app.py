"""The GitHub App of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from security_agent.github import GitHub, NotConfigured, Waiting

if TYPE_CHECKING:
    from permalog_server.settings import Settings


def open_github(settings: Settings, waiting: Waiting | None = None) -> GitHub:
    """The App that the settings describe. Whoever opened it closes it.

    Raises:
        NotConfigured: a setting is missing, or the key cannot be read or used.
    """
    if settings.github_app_id is None or settings.github_private_key is None:
        raise NotConfigured("set PERMALOG_GITHUB_APP_ID and PERMALOG_GITHUB_PRIVATE_KEY to work with GitHub")
    try:
        key = settings.github_private_key.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise NotConfigured(f"PERMALOG_GITHUB_PRIVATE_KEY: {settings.github_private_key} cannot be read") from error
    return GitHub(settings.github_app_id, key, settings.github_api_url, waiting=waiting)
