"""All that a database holds, as text: to see that something stands nowhere in it."""

import psycopg
from psycopg import sql


def everything_in(url: str) -> str:
    """Every row of every table of every schema, the server's own and its statistics included, in lower case."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\\_t%%' ORDER BY 1, 2",
            (),
        ).fetchall()
        parts: list[str] = []
        for schema, table in tables:
            rows = connection.execute(
                sql.SQL("SELECT string_agg(t::text, E'\\n') FROM {} AS t").format(sql.Identifier(schema, table))
            ).fetchall()
            parts.append(f"{schema}.{table}\n{rows[0][0]}")
        return "\n".join(parts).lower()


def rows_of(url: str) -> dict[str, list[str]]:
    """Every row of the tables that are ours."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname IN ('permalog', 'accounts', 'security_agent') ORDER BY 1, 2"
        ).fetchall()
        return {
            f"{schema}.{table}": sorted(
                text
                for (text,) in connection.execute(
                    sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, table))
                )
            )
            for schema, table in tables
        }


def changed_events(url: str) -> dict[str, tuple[int, int]]:
    """Of each partition of events, how many rows were ever updated and deleted."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("SELECT 1")
        rows = connection.execute(
            "SELECT relname, n_tup_upd, n_tup_del FROM pg_stat_user_tables"
            " WHERE schemaname = 'permalog' AND relname ~ '^event_([0-9]{6}|before)(_[0-9]+)?$'"
        ).fetchall()
    return {name: (updated, deleted) for name, updated, deleted in rows if updated or deleted}
