"""The only place that opens connections: a pool, and transactions in the role that each kind of work may have."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from weakref import WeakMethod

import orjson
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import ConnectionPool, PoolTimeout

from permalog.errors import DatabaseProblem, NotMigrated
from permalog.sql import query
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Generator
    from uuid import UUID

Connection: TypeAlias = psycopg.Connection[TupleRow]
Writing: TypeAlias = Literal["permalog_writer", "permalog_importer"]
Working: TypeAlias = Writing | Literal["permalog_sealer"]

# A server that vanishes without a word (a power cut, a failover, a firewall that forgets) is asked for after half a
# minute of silence, and given up after one more; the system would wait for two hours. An address may say otherwise.
_PATIENCE: Final = {
    "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000",
}  # fmt: skip

# Literal SET LOCALs, since only these reach the other nodes of a distributed database.
_READ: Final = sql.SQL(
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SET LOCAL permalog.log_id = {log}; SET LOCAL permalog.viewer = {viewer}"
)
_AS_READER: Final = sql.SQL("SET LOCAL ROLE permalog_reader")
_AS_AUDITOR: Final = sql.SQL("SET LOCAL ROLE permalog_auditor")
# One plan for every log, kept by the connection: planning over many partitions takes longer than fetching a page. Made
# for an average log, and while the newest partition was still empty, it would scan and sort what it takes for few rows;
# pages must follow an index, whatever a log has grown to since.
_IN_ORDER: Final = (
    "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off;"
    " SET LOCAL enable_bitmapscan = off"
)


class Database:
    """One PostgreSQL database that holds logs.

    Reads run as ``permalog_reader`` inside one log, writes as ``permalog_writer`` or ``permalog_importer``, whoever the
    connection belongs to; where the database was migrated without roles (``migrate --single-role``), as whoever
    connects. Safe to share between threads, and after a fork.

    Raises:
        DatabaseProblem: it cannot be reached, or the login has no right on the log.
        NotMigrated: it has no Permalog schema.
    """

    def __init__(self, url: str, *, pool_size: int = 8, timeout: float = 10.0) -> None:
        """Connects once, to find out what is there; ``timeout`` (seconds) bounds every wait for a connection."""
        self.url: Final = url
        self.timeout: Final = timeout
        said = conninfo_to_dict(url)
        self._options: Final[dict[str, Any]] = {"connect_timeout": str(int(timeout))} | {
            name: value for name, value in _PATIENCE.items() if name not in said
        }
        with self.connect() as connection:
            row = connection.execute(query("store", "installed")).fetchone()
        if row is None:
            raise NotMigrated("this database has no Permalog schema: run `permalog migrate`")
        self.has_roles, may_use = row
        if not may_use:
            raise DatabaseProblem("this login has no right on the log: GRANT permalog_writer, permalog_reader TO it")
        self._pool_size: Final = pool_size
        self._pool = self._new_pool()
        self._abandoned: Final[list[ConnectionPool]] = []
        forget = WeakMethod(self._start_afresh)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def _new_pool(self) -> ConnectionPool:
        """A pool that opens with its first use."""
        return ConnectionPool(
            self.url, min_size=1, max_size=self._pool_size, timeout=self.timeout, open=False, configure=_configure,
            kwargs={"autocommit": True, **self._options}, name="permalog",
        )  # fmt: skip

    def _start_afresh(self) -> None:
        # The connections are the parent's: neither used nor closed here, which would end its sessions.
        self._abandoned.append(self._pool)
        self._pool = self._new_pool()

    @contextmanager
    def _borrowed(self) -> Generator[Connection]:
        self._pool.open()
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(self._pool.connection())
            except PoolTimeout as error:
                raise DatabaseProblem(
                    f"no connection within {self.timeout:g} seconds: the database cannot be reached, or all"
                    f" {self._pool_size} connections are in use"
                ) from error
            yield connection

    def connect(self) -> Connection:
        """A connection of one's own, outside the pool, in autocommit mode.

        Raises:
            DatabaseProblem: the server cannot be reached or refuses.
        """
        try:
            connection = psycopg.connect(self.url, autocommit=True, **self._options)
        except psycopg.OperationalError as error:
            raise DatabaseProblem(f"cannot connect to the database: {_first_line(error)}") from error
        _configure(connection)
        return connection

    @contextmanager
    def reading(
        self, log_id: UUID, viewer: Viewer = Viewer.STAFF, *, in_order: bool = False, opening: bool = False
    ) -> Generator[Connection]:
        """A transaction that sees one log and one moment, as `viewer` may, and writes nothing.

        With ``in_order``, for statements that take a few events in the order of their ids, however many there are. With
        ``opening``, it sees the salts of identities, too: it runs as ``permalog_auditor``.
        """
        begin = _READ.format(log=sql.Literal(str(log_id)), viewer=sql.Literal(viewer.value))
        if self.has_roles:
            begin = sql.SQL("; ").join((begin, _AS_AUDITOR if opening else _AS_READER))
        if in_order:
            begin = sql.SQL("; ").join((begin, sql.SQL(_IN_ORDER)))
        with self._borrowed() as connection:
            try:
                connection.execute(begin)
            except psycopg.errors.InsufficientPrivilege as error:
                raise _no_member("permalog_auditor" if opening else "permalog_reader") from error
            try:
                yield connection
            except BaseException:
                if not connection.closed:
                    connection.execute("ROLLBACK")
                raise
            # Nothing was written; but psycopg drops all prepared statements when it sees a ROLLBACK.
            connection.execute("COMMIT")

    @contextmanager
    def verifying(self, snapshot: str | None = None) -> Generator[Connection]:
        """A transaction that sees all logs at one moment, salts included, and writes nothing.

        With ``snapshot``, at the moment of another transaction, which has exported it.

        Raises:
            DatabaseProblem: the server cannot be reached, or the login is no member of ``permalog_verifier``.
        """
        with self._borrowed() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                if snapshot is not None:
                    connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
                # Whatever path the database or the login was given: a schema of somebody's own could lie to us.
                connection.execute("SET LOCAL search_path = pg_catalog")
                if self.has_roles:
                    connection.execute("SET LOCAL ROLE permalog_verifier")
                yield connection
            except psycopg.errors.InsufficientPrivilege as error:
                raise _no_member("permalog_verifier") from error
            finally:
                if not connection.closed:
                    connection.execute("ROLLBACK")

    @contextmanager
    def shared(self) -> Generator[Connection]:
        """A connection of the pool for what belongs to no log, such as the catalogue."""
        with self._borrowed() as connection:
            yield connection

    def writing(self, role: Writing = "permalog_writer") -> Connection:
        """A connection of one's own in a writer's role, for a drain or an import.

        Raises:
            DatabaseProblem: the server cannot be reached, or the login is no member of the role.
        """
        return self.working(role)

    def working(self, role: Working) -> Connection:
        """A connection of one's own in a role that writes.

        Raises:
            DatabaseProblem: the server cannot be reached, or the login is no member of the role.
        """
        connection = self.connect()
        if self.has_roles:
            try:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            except psycopg.Error as error:
                connection.close()
                if isinstance(error, psycopg.errors.InsufficientPrivilege):
                    raise _no_member(role) from error
                raise
        return connection

    def close(self) -> None:
        """Closes the pool; connections handed out by `connect`, `writing` and `working` are their takers' to close."""
        self._pool.close()


def _no_member(role: str) -> DatabaseProblem:
    return DatabaseProblem(f"this login is no member of {role}: GRANT {role} TO it")


def _configure(connection: Connection) -> None:
    set_json_loads(_loads, connection)
    # Compiling a query takes longer than any query of ours saves by it.
    connection.execute("SET timezone = 'UTC'; SET jit = off")


def _loads(text: str | bytes) -> Any:  # noqa: ANN401
    """Jsonb as Python values. Another writer may have stored a number that orjson refuses (1e400)."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        import json  # noqa: PLC0415  rarely needed

        return json.loads(text, parse_float=str, parse_int=str)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
