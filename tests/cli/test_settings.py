"""``permalog settings``, and the embedded server that it hands out."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from calling import Said

Run = Callable[..., Said]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The program itself, with an embedded server of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PERMALOG_")}
    environment["PERMALOG_DATA_DIR"] = str(tmp_path / "data")
    tmp_path.chmod(0o755)

    def call(*arguments: str) -> Said:
        command = [sys.executable, "-m", "permalog_server", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return Said(done.returncode, done.stdout, done.stderr)

    return call


def can_connect(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_the_address_of_the_embedded_server_is_good_until_it_is_released(run: Run) -> None:
    said = run("settings", "--json")
    assert said.code == 0, said.err
    url: str = said.json["database_url"]
    assert can_connect(url)
    assert run("import", os.devnull).code == 0
    assert can_connect(url), "a command that comes and goes does not take the server with it"
    assert run("settings", "--json").json["database_url"] == url
    assert run("settings", "--release").code == 0
    end = time.monotonic() + 20
    while can_connect(url) and time.monotonic() < end:
        time.sleep(0.1)
    assert not can_connect(url)


def test_without_json_no_server_is_started(run: Run, tmp_path: Path) -> None:
    said = run("settings")
    assert "PERMALOG_DATA_DIR" in said.out
    assert not (tmp_path / "data").exists()
