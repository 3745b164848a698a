"""What the rights to erase, to read and to write do not give: tried by logins that have them, with hostile means."""

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from asking import ask, composed, value
from everywhere import rows_of
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.sql import HERE

COMPANYS, HERS = Owner.organization("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f"), Owner.user("ada")
ADA = Actor.user("ada", email="ada@acme.example", name="Ada Byron")
ERASE = "SELECT * FROM permalog.erase_user('ada', %s)"
SYSTEM = '{"type": "system"}'

CALLS = {
    "bar_user": "SELECT permalog.bar_user('ada')",
    "bar_organization": "SELECT permalog.bar_organization(gen_random_uuid())",
    "erase_alone": "SELECT permalog.erase_alone()",
    "erase_user": "SELECT permalog.erase_user('ada', 'null')",
    "erase_organization": "SELECT permalog.erase_organization(gen_random_uuid())",
    "identities_of": "SELECT permalog.identities_of('ada', NULL)",
    "size_of": "SELECT permalog.size_of(gen_random_uuid())",
    "remove_log": "SELECT permalog.remove_log(gen_random_uuid())",
}
WITHIN = {"identities_of", "size_of", "remove_log"}
"""What only the erasing functions themselves call."""


@pytest.fixture
def filled(log: Permalog, database: str) -> str:
    """A database with a person in two logs."""
    with psycopg.connect(database) as connection:
        for actor, owner in ((ADA, COMPANYS), (ADA, HERS), (Actor.staff("s_1", name="Sam"), COMPANYS)):
            log.record(
                Event(
                    owner=owner, actor=actor, action="thing.made", resource=Resource("thing", "t_1"),
                    metadata={"whom": Personal("email", "ada@acme.example")},
                ),
                connection=connection,
            )  # fmt: skip
    return database


@pytest.mark.parametrize(
    "role", ["permalog_writer", "permalog_importer", "permalog_reader", "permalog_sealer", "permalog_privacy", None]
)
def test_only_privacy_erases_and_nobody_calls_what_stands_within(
    role: str | None, filled: str, login: Callable[..., str]
) -> None:
    before = rows_of(filled)
    with psycopg.connect(login(*([role] if role else [])), autocommit=True) as connection:
        for name in WITHIN if role == "permalog_privacy" else CALLS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"permission denied for (function|schema)"):
                ask(connection, CALLS[name])
    assert rows_of(filled) == before


ACTORS = [
    None, "null", "[]", '"x"', "1", "{}", '{"type": "nobody"}', '{"type": "user"}', '{"type": "user", "id": ""}',
    '{"type": "user", "id": "u", "x": 1}', '{"type": "user", "type": "staff", "id": "u"}', '{"type": "user", "id": {}}',
    '{"type": "system", "email": "a@b.example"}', '{"type": "user", "id": "u\\u0000"}',
    '{"type": "user", "id": "\\ud800"}',
    '{"type": "user", "id": "' + "x" * 256 + '"}', '{"type": "user", "id": "u"}, "action": "thing.made", "x": {}',
]  # fmt: skip


@pytest.mark.parametrize("actor", ACTORS, ids=str)
def test_a_hostile_actor_erases_nothing(actor: str | None, filled: str, login: Callable[..., str]) -> None:
    before = rows_of(filled)
    with psycopg.connect(login("permalog_privacy"), autocommit=True) as connection:
        with pytest.raises((psycopg.DatabaseError, psycopg.DataError)) as refused:
            ask(connection, ERASE, [actor])
        assert refused.value.sqlstate in {"PL422", "22P02", "22P05"}
    assert rows_of(filled) == before


def test_an_actor_is_only_ever_data(filled: str, login: Callable[..., str], log: Permalog) -> None:
    name = '\'); DELETE FROM permalog.event; --", "action": "thing.lost'
    actor = Actor.user("u", name=name).name
    with psycopg.connect(login("permalog_privacy"), autocommit=True) as connection:
        made = value(connection, "SELECT json_build_object('type', 'user', 'id', 'u', 'name', %s::text)::text", [actor])
        ask(connection, ERASE, [made])
    (record,) = log.list(COMPANYS, action="security.log.user_erased").events
    assert record.actor_name == name
    with psycopg.connect(filled) as connection:
        assert value(connection, "SELECT count(*) FROM permalog.event WHERE log_id = %s", [COMPANYS.log_id]) == 3


def test_a_forged_actor_does_not_hide_who_erased(filled: str, login: Callable[..., str], log: Permalog) -> None:
    """Who may erase may name anybody; the database says which login it was."""
    with psycopg.connect(login("permalog_privacy"), autocommit=True) as connection:
        ask(connection, "SET permalog.recorded_by = 'token:of-somebody-else'")
        ask(connection, ERASE, ['{"type": "user", "id": "bob", "email": "bob@acme.example"}'])
        user = value(connection, "SELECT session_user::text")
    (record,) = log.list(COMPANYS, action="security.log.user_erased").events
    assert (record.actor_id, record.recorded_by) == ("bob", user)
    assert filled


def own_schema(database: str, address: str) -> str:
    """A schema of a login's own, as many applications have, which the owner's roles may look into."""
    with psycopg.connect(address) as connection:
        user = value(connection, "SELECT session_user::text")
    with psycopg.connect(database, autocommit=True) as connection:
        ask(connection, "CREATE SCHEMA evil AUTHORIZATION {user}", user=user)
        ask(connection, "GRANT USAGE ON SCHEMA evil TO PUBLIC")
    return user


def shadow(connection: psycopg.Connection[Any], names: set[str]) -> int:
    """Operators and functions of the login's own before those of the server, which fail if they have others' rights."""
    connection.execute("""
        CREATE FUNCTION evil.watch() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
            IF current_user OPERATOR(pg_catalog.<>) session_user THEN
                RAISE EXCEPTION 'ran as %', current_user USING ERRCODE = 'EV000';
            END IF;
        END $$
    """)
    operators = ask(
        connection,
        "SELECT oid::integer, oprname::text, oprleft::regtype::text, oprright::regtype::text, oprresult::regtype::text"
        " FROM pg_operator WHERE oprkind = 'b' AND oprnamespace = 'pg_catalog'::regnamespace"
        " AND NOT 'any' = ANY (ARRAY[left(oprleft::regtype::text, 3), left(oprright::regtype::text, 3)])",
    )
    made = 0
    for number, name, left, right, result in operators:
        body = f"BEGIN PERFORM evil.watch(); RETURN $1 OPERATOR(pg_catalog.{name}) $2; END"
        made += tried(
            connection,
            f"CREATE FUNCTION evil.o{number}({left}, {right}) RETURNS {result} LANGUAGE plpgsql AS $x$ {body} $x$;"
            f" CREATE OPERATOR evil.{name} (leftarg = {left}, rightarg = {right}, function = evil.o{number})",
        )
    functions = ask(
        connection,
        "SELECT proname::text, pg_get_function_identity_arguments(oid), prorettype::regtype::text, pronargs::integer"
        " FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset"
        " AND provariadic = 0 AND proname = ANY (%s)",
        [sorted(names)],
    )
    for name, arguments, result, number in functions:
        given = ", ".join(f"${place + 1}" for place in range(number))
        body = f"BEGIN PERFORM evil.watch(); RETURN pg_catalog.{name}({given}); END"
        made += tried(
            connection,
            f'CREATE FUNCTION evil."{name}"({arguments}) RETURNS {result} LANGUAGE plpgsql AS $x$ {body} $x$',
        )
    return made


def tried(connection: psycopg.Connection[Any], statement: str) -> bool:
    try:
        connection.execute(composed(statement.replace("{", "{{").replace("}", "}}")))
    except psycopg.errors.Error:
        return False  # of a kind that a login cannot make
    return True


@pytest.mark.slow
def test_nothing_of_a_logins_own_runs_with_more_rights_than_it_has(
    filled: str, login: Callable[..., str], log: Permalog
) -> None:
    """Whatever it puts before the server's own operators and functions: as writer, eraser and reader."""
    address = login("permalog_writer", "permalog_privacy", "permalog_reader")
    user = own_schema(filled, address)
    files = (HERE.joinpath(name) for name in ("keys.sql", "guards.sql", "schema.sql", "routines"))
    text = "\n".join(one.read_text() for file in files for one in ([file] if file.is_file() else file.iterdir()))
    with psycopg.connect(address, autocommit=True) as connection:
        assert shadow(connection, set(re.findall(r"\b([a-z_0-9]+)\(", text))) > 500
        connection.execute("CREATE TEMPORARY TABLE log (log_id uuid); CREATE TEMPORARY TABLE identity ()")
        connection.execute("SET search_path = evil, pg_temp, pg_catalog")
        event = Event(owner=COMPANYS, actor=ADA, action="thing.made", resource=Resource("thing", "t_2"), event_key="k")
        for _ in range(2):
            log.record(event, connection=connection)
        connection.execute("SELECT * FROM permalog.people_of_email('ada@acme.example')")
        ask(connection, ERASE, [SYSTEM])
        connection.execute("SET search_path = pg_catalog")
        assert value(connection, "SELECT count(*) FROM pg_temp.log") == 0
    (record, *_) = log.list(COMPANYS, action="security.log.user_erased").events
    assert record.recorded_by == user
    assert all(one.actor_email is None for one in log.list(COMPANYS).events if one.actor_id == "ada")
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("DROP SCHEMA evil CASCADE")


def test_who_recorded_cannot_be_forged_through_the_search_path(
    filled: str, login: Callable[..., str], log: Permalog
) -> None:
    address = login("permalog_writer")
    user = own_schema(filled, address)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("""
            CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS
                $$ SELECT 'token:forged' $$;
            CREATE FUNCTION evil.pg_has_role(name, oid, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
            CREATE FUNCTION evil.pg_has_role(name, regrole, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
            SET search_path = evil, pg_catalog; SET permalog.recorded_by = 'token:forged'
        """)
        log.record(
            Event(owner=COMPANYS, actor=ADA, action="thing.made", resource=Resource("thing", "t_2")),
            connection=connection,
        )
    assert log.list(COMPANYS).events[0].recorded_by == user
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("DROP SCHEMA evil CASCADE")


@pytest.mark.parametrize("viewer", [None, "", "customer", "STAFF", "staff ", "'staff'", "true", "*"])
def test_a_reader_who_does_not_say_staff_sees_no_staff(
    viewer: str | None, filled: str, login: Callable[..., str]
) -> None:
    assert filled
    with psycopg.connect(login("permalog_reader"), autocommit=True) as connection:
        ask(connection, "SELECT set_config('permalog.log_id', %s, false)", [str(COMPANYS.log_id)])
        if viewer is not None:
            ask(connection, "SELECT set_config('permalog.viewer', %s, false)", [viewer])
        assert value(connection, "SELECT count(*) FROM permalog.identity WHERE kind = 'staff'") == 0
        assert value(connection, "SELECT count(*) FROM permalog.identity") > 0


@pytest.mark.parametrize("log_id", [None, "", "null", "*", "{}", "%", "00000000-0000-0000-0000-000000000000"])
def test_a_reader_who_names_no_log_sees_none(log_id: str | None, filled: str, login: Callable[..., str]) -> None:
    assert filled
    with psycopg.connect(login("permalog_reader"), autocommit=True) as connection:
        if log_id is not None:
            ask(connection, "SELECT set_config('permalog.log_id', %s, false)", [log_id])
        for table in ("event", "identity", "log"):
            try:
                assert value(connection, f"SELECT count(*) FROM permalog.{table}") == 0
            except psycopg.errors.InvalidTextRepresentation:
                assert log_id not in {None, ""}
