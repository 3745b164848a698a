"""A shallow clone of a repository: files only, nothing of it is run."""

from __future__ import annotations

import os
import re
from pathlib import Path
from threading import Event
from typing import Final
from urllib.parse import urlsplit

from security_agent.sandbox.contained import Bounds, SandboxFailed, limited, run
from security_agent.sandbox.limits import NOBODY, Limits

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}", re.ASCII)
_MEMORY: Final = 4 * 1024**3
_FILE: Final = 1024**3
BOUNDS: Final = Bounds(seconds=300, disk=2 * 1024**3)
_CONFIGURATION: Final = """\
[core]
\thooksPath = /dev/null
\tsymlinks = false
\tfsmonitor = false
\tsshCommand = false
[safe]
\tdirectory = *
[protocol]
\tallow = never
[protocol "{protocol}"]
\tallow = always
[submodule]
\trecurse = false
[credential]
\thelper =
[http]
\tfollowRedirects = false
[filter "lfs"]
\tsmudge =
\tprocess =
\trequired = false
[gc]
\tauto = 0
[pack]
\tthreads = 1
"""
"""Links become plain files with their target as text, so that none leads out of the tree."""


def address(template: str, repository: str) -> str:
    """Where a repository is cloned from.

    Args:
        template: ``https://github.example/{repository}.git``, or an absolute path such as ``/srv/git/{repository}``.
        repository: ``owner/name``, as GitHub gives it.

    Raises:
        SandboxFailed: the name is none, or the address neither HTTPS nor a path.
    """
    owner, _, name = repository.partition("/")
    if not _REPOSITORY.fullmatch(repository) or name in {".", ".."} or owner.endswith("-"):
        raise SandboxFailed("clone_failed", "the repository's name is none of GitHub's")
    where = template.replace("{repository}", repository)
    parts = urlsplit(where)
    if parts.scheme == "https" and parts.hostname and not parts.username:
        return where
    if where.startswith("/"):
        return where
    raise SandboxFailed("clone_failed", "repositories are cloned over https:// or from an absolute path only")


def clone(
    where: str, folder: Path, *, token: str | None = None, bounds: Bounds = BOUNDS, stopping: Event | None = None
) -> Path:
    """Clones the newest commit into a new folder below ``folder``.

    Args:
        where: of `address`.
        folder: an empty one; all that is written lies below it.
        token: an installation's, for private repositories. It lies in a file of git's configuration while git runs,
            never in the environment or on the command line, and is gone before anything looks at the code.
        bounds: of time and disk.
        stopping: set when this process is to end.

    Raises:
        SandboxFailed: it cannot be had, or not within the bounds.
    """
    local = where.startswith("/")
    configuration = folder / "gitconfig"
    text = _CONFIGURATION.format(protocol="file" if local else "https")
    if token is not None and not local:
        text += _authorization(where, token)
    configuration.touch(mode=0o600)
    configuration.write_text(text)
    # The operator's own repositories may be closed to nobody.
    limits = Limits(_MEMORY, int(bounds.seconds), _FILE, processes=64, drop=not local)
    if limits.drop and os.geteuid() == 0:
        for path in (folder, configuration):
            os.chown(path, NOBODY, NOBODY)
    tree = folder / "tree"
    command = (
        "git", "clone", "--quiet", "--depth=1", "--single-branch", "--no-tags", "--no-recurse-submodules",
        "--template=", "--", f"file://{where}" if local else where, str(tree),
    )  # fmt: skip
    variables = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(configuration),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_LFS_SKIP_SMUDGE": "1",
    }
    try:
        run(limited(limits, *command), folder, bounds, also=variables, stopping=stopping)
    except SandboxFailed as error:
        if error.code == "sandbox_failed":
            raise SandboxFailed("clone_failed", "the repository could not be cloned") from None
        raise
    finally:
        configuration.unlink(missing_ok=True)
    return tree


def _authorization(where: str, token: str) -> str:
    from base64 import b64encode  # noqa: PLC0415

    encoded = b64encode(f"x-access-token:{token}".encode()).decode()
    parts = urlsplit(where)
    return f'[http "{parts.scheme}://{parts.netloc}/"]\n\textraHeader = "Authorization: Basic {encoded}"\n'
