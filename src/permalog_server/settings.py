"""The settings: read once, from the environment, into one frozen object."""

from __future__ import annotations

import re
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from typing_extensions import override

from permalog.errors import InvalidQuery
from permalog.recording.spool_settings import GROUP_MILLISECONDS, SPOOL_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA_DIR: Final = ".permalog"
ORIGIN: Final = "localhost"
GITHUB_API_URL: Final = "https://api.github.com"
OIDC_USER_CLAIM: Final = "sub"
_HIDDEN: Final = "********"


def _about(name: str, meaning: str, *, secret: bool = False, is_path: bool = False) -> dict[str, object]:
    return {"name": name, "meaning": meaning, "secret": secret, "is_path": is_path}


@dataclass(frozen=True, slots=True)
class OpenId:
    """An OpenID provider, and how it knows this installation."""

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    user_claim: str = OIDC_USER_CLAIM


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What an operator may set. A variable that is empty counts as not set."""

    database_url: str | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_DATABASE_URL",
            "The PostgreSQL database (15 to 18) that holds the logs; without it, an embedded one",
        ),
    )
    data_dir: Path = field(
        default=Path(DATA_DIR),
        metadata=_about(
            "PERMALOG_DATA_DIR", "The folder of the embedded PostgreSQL, for when no database is given", is_path=True
        ),
    )
    erasure_journal: Path | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_ERASURE_JOURNAL",
            "The file that notes erasures outside the database; else erasures.ndjson in PERMALOG_DATA_DIR",
            is_path=True,
        ),
    )
    public_logs: str | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_PUBLIC_LOGS",
            "Whether anybody may read checkpoints and hash tiles: true, else a token is asked for",
        ),
    )
    signing_key: Path | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_SIGNING_KEY",
            "The file with the key that signs checkpoints; else, embedded, signing.key in PERMALOG_DATA_DIR",
            is_path=True,
        ),
    )
    origin: str = field(
        default=ORIGIN,
        metadata=_about(
            "PERMALOG_ORIGIN", "What checkpoints call this installation and its key: a URL without a scheme"
        ),
    )
    sealed_dir: Path | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_SEALED_DIR",
            "The folder that notes what was signed, outside the database; else sealed in PERMALOG_DATA_DIR",
            is_path=True,
        ),
    )
    anchor_dir: Path | None = field(
        default=None,
        metadata=_about("PERMALOG_ANCHOR_DIR", "The folder that anchors are published to", is_path=True),
    )
    anchor_url: str | None = field(
        default=None,
        metadata=_about("PERMALOG_ANCHOR_URL", "The address that anchors are published to, each by a POST"),
    )
    anchor_token: str | None = field(
        default=None,
        metadata=_about("PERMALOG_ANCHOR_TOKEN", "The bearer token for that address", secret=True),
    )
    witness_policy: Path | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_WITNESS_POLICY",
            "The file that names the witnesses to ask, and how many are enough",
            is_path=True,
        ),
    )
    base_url: str | None = field(
        default=None,
        metadata=_about("PERMALOG_BASE_URL", "Where people reach the pages, such as https://audit.example.com"),
    )
    oidc_issuer: str | None = field(
        default=None,
        metadata=_about("PERMALOG_OIDC_ISSUER", "The OpenID provider by which people sign in; without it, by a link"),
    )
    oidc_client_id: str | None = field(
        default=None,
        metadata=_about("PERMALOG_OIDC_CLIENT_ID", "What the provider calls this installation"),
    )
    oidc_client_secret: str | None = field(
        default=None,
        metadata=_about("PERMALOG_OIDC_CLIENT_SECRET", "The secret that it gave with it", secret=True),
    )
    oidc_user_claim: str = field(
        default=OIDC_USER_CLAIM,
        metadata=_about("PERMALOG_OIDC_USER_CLAIM", "The claim of the provider that is the user's id here"),
    )
    internal_secret: str | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_INTERNAL_SECRET", "What opens the routes below /internal; without it they are closed", secret=True
        ),
    )
    github_app_id: str | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_GITHUB_APP_ID", "The id, or the client id, of the GitHub App that the agent works as"
        ),
    )
    github_private_key: Path | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_GITHUB_PRIVATE_KEY", "The file with the App's private key, as GitHub made it (PEM)", is_path=True
        ),
    )
    github_api_url: str = field(
        default=GITHUB_API_URL,
        metadata=_about("PERMALOG_GITHUB_API_URL", "Where GitHub's API is: an Enterprise server's, else github.com's"),
    )
    github_webhook_secret: str | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_GITHUB_WEBHOOK_SECRET",
            "What GitHub signs its webhooks with; without it none is taken",
            secret=True,
        ),
    )
    llm_base_url: str | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_LLM_BASE_URL", "An OpenAI-compatible endpoint for triage and extraction; without it, rules decide"
        ),
    )
    llm_api_key: str | None = field(
        default=None,
        metadata=_about("PERMALOG_LLM_API_KEY", "The key for that endpoint", secret=True),
    )
    llm_model: str | None = field(
        default=None,
        metadata=_about("PERMALOG_LLM_MODEL", "The model that is asked, unless an owner chose another"),
    )
    clone_from: str | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_CLONE_FROM", "Where an analysis clones {repository} from, over HTTPS or by path; else github.com"
        ),
    )
    spool_dir: Path | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_SPOOL_DIR", "The folder in which recorded events lie until the database has them", is_path=True
        ),
    )
    spool_fsync: str = field(
        default=str(GROUP_MILLISECONDS),
        metadata=_about(
            "PERMALOG_SPOOL_FSYNC", "When they are forced to disk: none, each, or after so many milliseconds"
        ),
    )
    spool_limit: str = field(
        default=str(SPOOL_LIMIT),
        metadata=_about("PERMALOG_SPOOL_LIMIT", "The bytes that may wait, for each process"),
    )
    spool_full: str = field(
        default="drop",
        metadata=_about("PERMALOG_SPOOL_FULL", "What becomes of an event that cannot be spooled: drop or raise"),
    )
    sentry_dsn: str | None = field(
        default=None,
        metadata=_about(
            "PERMALOG_SENTRY_DSN",
            "The Sentry project that hears of events that could not be recorded, and of crashes",
            secret=True,
        ),
    )

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Takes the settings from environment variables."""
        given: dict[str, Any] = {}
        for setting in fields(cls):
            value = environment.get(_name(setting))
            if value:
                given[setting.name] = Path(value) if setting.metadata["is_path"] else value
        return cls(**given)

    @property
    def are_logs_public(self) -> bool:
        """Whether checkpoints and hash tiles are for anybody.

        Raises:
            InvalidQuery: it is neither true nor false.
        """
        if self.public_logs not in {None, "true", "false"}:
            raise InvalidQuery("PERMALOG_PUBLIC_LOGS", "must be true or false")
        return self.public_logs == "true"

    @property
    def openid(self) -> OpenId | None:
        """The OpenID provider; None where none is set.

        Raises:
            InvalidQuery: what belongs to it is not set.
        """
        if self.oidc_issuer is None:
            return None
        if self.base_url is None or self.oidc_client_id is None:
            missing = "PERMALOG_BASE_URL" if self.base_url is None else "PERMALOG_OIDC_CLIENT_ID"
            raise InvalidQuery(missing, "is needed with PERMALOG_OIDC_ISSUER")
        return OpenId(self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret, self.oidc_user_claim)

    @override
    def __repr__(self) -> str:
        """What is set, as it may be shown."""
        shown = {_name(f): _shown(f, getattr(self, f.name)) for f in fields(self)}
        return f"Settings({', '.join(f'{name}={value}' for name, value in shown.items() if value is not None)})"

    def described(self, environment: Mapping[str, str]) -> list[Described]:
        """Each setting as it may be shown: secrets hidden, and where the value came from."""
        return [
            Described(
                _name(f),
                _shown(f, getattr(self, f.name)),
                "environment" if environment.get(_name(f)) else "default",
                str(f.metadata["meaning"]),
            )
            for f in fields(self)
        ]


class Described(NamedTuple):
    """One setting, for people."""

    name: str
    value: str | None
    """Without secrets; None: not set."""
    source: str
    """``environment`` or ``default``."""
    meaning: str


def hide_password(url: str) -> str:
    """A database address, as a URL or as libpq's ``key=value`` words, without its password."""
    if "://" not in url:
        # A quoted value may hold blanks, and a backslash keeps what follows it.
        return re.sub(r"(\b(?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s'\\]|\\.)+)", rf"\1{_HIDDEN}", url)
    try:
        parts = urlsplit(url)
        login, at, host = parts.netloc.rpartition("@")
        user, colon, _ = login.partition(":")
        query = [
            (k, _HIDDEN if "password" in k.lower() else v) for k, v in parse_qsl(parts.query, keep_blank_values=True)
        ]
    except ValueError:
        return _HIDDEN
    netloc = f"{user}{f':{_HIDDEN}' if colon else ''}{at}{host}"
    # Rewritten only where something was hidden: the address of the embedded server must stay as it is.
    text = urlencode(query, safe="/*") if any(v == _HIDDEN for _, v in query) else parts.query
    return urlunsplit(parts._replace(netloc=netloc, query=text))


def _name(setting: Field[object]) -> str:
    return str(setting.metadata["name"])


def _shown(setting: Field[object], value: object) -> str | None:
    if value is None:
        return None
    if setting.metadata["secret"]:
        return _HIDDEN
    # Addresses may hold a login; paths and names stay as they are.
    return hide_password(str(value)) if setting.name.endswith("_url") else str(value)
