"""The settings, and what of them may be shown."""

from pathlib import Path

import pytest

from permalog_server.settings import Settings, hide_password


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = Settings.read({"PERMALOG_DATABASE_URL": "", "PERMALOG_DATA_DIR": ""})
    assert settings == Settings(database_url=None, data_dir=Path(".permalog"), sentry_dsn=None)


def test_a_setting_says_where_it_comes_from() -> None:
    environment = {"PERMALOG_DATA_DIR": "/srv/log"}
    described = {row.name: row for row in Settings.read(environment).described(environment)}
    assert described["PERMALOG_DATA_DIR"][1:3] == ("/srv/log", "environment")
    assert described["PERMALOG_DATABASE_URL"][1:3] == (None, "default")


def test_secrets_are_hidden() -> None:
    environment = {
        "PERMALOG_DATABASE_URL": "postgresql://app:hunter2@db.example/log",
        "PERMALOG_SENTRY_DSN": "https://hunter2@sentry.example/1",
    }
    shown = str(Settings.read(environment).described(environment))
    assert "hunter2" not in shown
    assert "postgresql://app:********@db.example/log" in shown


def test_no_secret_is_in_what_settings_look_like() -> None:
    secrets = ("INTERNAL_SECRET", "GITHUB_WEBHOOK_SECRET", "LLM_API_KEY", "SENTRY_DSN")
    environment = {f"PERMALOG_{name}": "hunter2" for name in secrets} | {
        "PERMALOG_DATABASE_URL": "postgresql://app:hunter2@db.example/log",
        "PERMALOG_LLM_BASE_URL": "https://app:hunter2@models.example/v1",
    }
    settings = Settings.read(environment)
    assert settings.llm_api_key == "hunter2"
    assert "hunter2" not in str(settings.described(environment))
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:hunter2@db.example:5432/log?sslmode=require",
        "postgresql://app:hunt@er:hunter2@db.example/log",
        "postgresql://app@db.example/log?password=hunter2&sslmode=require",
        "postgres:///log?user=app&PASSWORD=hunter2",
        "postgresql://app@db.example/log?sslpassword=hunter2",
        "host=db.example password=hunter2 user=app",
        r"host=db.example password = 'hunter2 \' hunter2' user=app",
        r"password=hunter2\ hunter2 user=app",
        "host=db.example password='hunter2",
        "postgresql://app:hunter2@[db.example/log",
    ],
)
def test_no_way_of_writing_a_password_shows_it(url: str) -> None:
    assert "hunter2" not in hide_password(url)


@pytest.mark.parametrize(
    "url",
    ["postgresql://postgres@/permalog?host=/var/lib/permalog/a+b/postgres&port=5432", "host=/tmp user=app dbname=log"],
)
def test_an_address_without_password_stays_as_it_is(url: str) -> None:
    assert hide_password(url) == url
