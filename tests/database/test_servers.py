"""The tests' own servers are what they claim to be."""

import psycopg

from servers import Server


def test_the_servers_version_is_the_one_named(server: Server, empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        assert str(connection.info.server_version // 10000) == server.version
        assert connection.execute("SELECT lower('ÄÖÜ')").fetchone() == ("äöü",)
