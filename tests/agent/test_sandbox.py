"""The built-in runner: what it finds in code of each ecosystem, and what strangers' code cannot make it do."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.subjects import subject
from security_agent.sandbox import runner
from security_agent.sandbox.clone import address
from security_agent.sandbox.contained import Bounds, SandboxFailed, limited, run
from security_agent.sandbox.limits import Limits
from security_agent.sandbox.runner import analyze, searched
from security_agent.sandbox.search import LARGEST_FILE

Repository = Callable[[dict[str, str]], str]
SECRET = "ghs_secret_5f1d"  # noqa: S105  none
LIMITS = Limits(memory=1024**3, processor_seconds=20, file_bytes=1024**2, processes=16)
QUICK = Bounds(seconds=20, disk=64 * 1024**2)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@tests.example", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A local repository ``acme/app`` with these files; gives the template of its address."""

    def make(files: dict[str, str]) -> str:
        folder = tmp_path / "git" / "acme" / "app"
        folder.mkdir(parents=True)
        git(folder, "init", "-q", "-b", "main")
        write(folder, files)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "--allow-empty", "-m", "first")
        return str(tmp_path / "git" / "{repository}")

    return make


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree that whoever searches may read, also when root searches as nobody."""
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if folder.stat().st_uid == os.getuid() and folder != Path("/tmp"):  # noqa: S108
            folder.chmod(0o755)
    made = tmp_path / "tree"
    made.mkdir(mode=0o755)
    return made


NPM, PIP, RUBY, CARGO = (
    subject(package="left-pad", ecosystem="npm", patched_version="1.3.0"),
    subject(package="PyYAML", ecosystem="pip", patched_version="5.4"),
    subject(package="nokogiri", ecosystem="rubygems", patched_version="1.16"),
    subject(package="serde-yaml", ecosystem="rust", patched_version=None),
)
PACKAGE_JSON = '{"dependencies": {"left-pad": "^1.0.0"}}'


@pytest.mark.parametrize(
    ("what", "files", "places"),
    [
        (NPM, {"a.js": "const x = 1\nconst pad = require('left-pad')\n"}, ["a.js:2"]),
        (NPM, {"src/b.ts": 'import pad from "left-pad/es"\n'}, ["src/b.ts:1"]),
        (NPM, {"c.mjs": "await import('left-pad');\nexport * from 'left-pad'"}, ["c.mjs:1", "c.mjs:2"]),
        (PIP, {"app/x.py": "import os\nimport yaml\n"}, ["app/x.py:2"]),
        (PIP, {"x.py": "import os, yaml as y"}, ["x.py:1"]),
        (PIP, {"x.py": "def f():\n    from yaml.loader import Loader"}, ["x.py:2"]),
        (RUBY, {"x.rb": "require 'nokogiri'\nNokogiri::XML('')"}, ["x.rb:1", "x.rb:2"]),
        (CARGO, {"src/main.rs": 'use serde_yaml::Value;\nfn f() { serde_yaml::from_str(""); }'},
         ["src/main.rs:1", "src/main.rs:2"]),
    ],
)  # fmt: skip
def test_uses_are_found_and_located(
    repository: Repository, what: object, files: dict[str, str], places: list[str]
) -> None:
    found = analyze(what, repository(files), "acme/app")  # type: ignore[arg-type]
    assert list(found.result.usage_locations) == places
    assert found.result.exploitable == "unknown"
    assert found.result.suggested_action == ("manual_review" if what is CARGO else "open_pr")
    assert found.extractor == "runner"


@pytest.mark.parametrize(
    ("what", "files"),
    [
        (NPM, {"package.json": PACKAGE_JSON, "a.js": "require('left-padding')"}),
        (PIP, {"requirements.txt": "pyyaml==5.3\n", "x.py": "import json\n"}),
        (RUBY, {"Gemfile": "gem 'nokogiri'\n", "x.rb": "require 'json'\n"}),
        (CARGO, {"Cargo.toml": '[dependencies]\nserde-yaml = "0.8"\n', "src/main.rs": "fn main() {}"}),
    ],
)
def test_what_is_declared_and_never_used_is_not_exploitable(
    repository: Repository, what: object, files: dict[str, str]
) -> None:
    result = analyze(what, repository(files), "acme/app").result  # type: ignore[arg-type]
    assert (result.exploitable, result.suggested_action) == ("no", "dismiss")


LOCK = json.dumps(
    {"packages": {"": {"dependencies": {"left-pad": "1"}}, "node_modules/x": {"dependencies": {"left-pad": "1"}}}}
)
CARGO_LOCK = '[[package]]\nname = "x"\nsource = "registry"\ndependencies = [\n "serde-yaml",\n]\n'


@pytest.mark.parametrize(
    ("what", "files", "action"),
    [
        (NPM, {"package.json": PACKAGE_JSON, "package-lock.json": LOCK}, "monitor"),
        (NPM, {"package.json": PACKAGE_JSON, "yarn.lock": 'x@1:\n  dependencies:\n    left-pad "^1"\n'}, "monitor"),
        (CARGO, {"Cargo.toml": '[dependencies]\nserde-yaml = "1"\n', "Cargo.lock": CARGO_LOCK}, "monitor"),
        (RUBY, {"Gemfile": "gem 'nokogiri'", "Gemfile.lock": "GEM\n  specs:\n    loofah (2)\n      nokogiri (>= 1)\n"},
         "monitor"),
        (NPM, {"a.js": "1"}, "monitor"),
        (NPM, {"package.json": PACKAGE_JSON, "webpack.yml": "plugins: [left-pad]"}, "manual_review"),
        (NPM, {"package.json": PACKAGE_JSON, "big.js": "x" * (LARGEST_FILE + 1)}, "manual_review"),
        (PIP, {"requirements.txt": "pyyaml", "conf.toml": "loader = 'yaml'"}, "manual_review"),
        (subject(ecosystem="go"), {"main.go": "package main"}, "manual_review"),
    ],
)  # fmt: skip
def test_what_a_search_cannot_know_it_does_not_say(
    repository: Repository, what: object, files: dict[str, str], action: str
) -> None:
    result = analyze(what, repository(files), "acme/app").result  # type: ignore[arg-type]
    assert (result.exploitable, result.suggested_action) == ("unknown", action)


def test_a_large_file_is_left_out_and_said(repository: Repository) -> None:
    template = repository({"package.json": PACKAGE_JSON, "big.js": "require('left-pad')" + " " * LARGEST_FILE})
    assert "1 too large ones left out (big.js)" in analyze(NPM, template, "acme/app").result.reasoning


def test_a_link_does_not_lead_out_of_the_tree(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write(outside, {"secret.js": "require('left-pad')"})
    (tree / "file.js").symlink_to(outside / "secret.js")
    (tree / "folder").symlink_to(outside)
    (tree / "loop").symlink_to(tree)
    found = searched(tree, NPM)
    assert (found.use_count, found.links, found.files) == (0, 3, 0)


def test_a_cloned_link_is_a_plain_file(repository: Repository, tmp_path: Path) -> None:
    write(tmp_path, {"secret.js": "require('left-pad')"})
    template = repository({"a.txt": ""})
    folder = tmp_path / "git" / "acme" / "app"
    (folder / "link.js").symlink_to(tmp_path / "secret.js")
    (folder / "up").symlink_to("../../..")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "links")
    assert analyze(NPM, template, "acme/app").result.usage_locations == ()


def test_pipes_and_strange_names_do_not_stop_the_search(tree: Path) -> None:
    os.mkfifo(tree / "pipe.js")
    write(tree, {"a\nb.js": "require('left-pad')", "c.js": "\0binary require('left-pad')"})
    found = searched(tree, NPM)
    assert found.uses == ["a?b.js:1"]


def test_a_hook_of_the_repository_is_not_run(repository: Repository, tmp_path: Path) -> None:
    template = repository({"a.js": "", ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ext::sh -c id\n'})
    hooks = tmp_path / "git" / "acme" / "app" / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-upload-pack", "pre-receive"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    analyze(NPM, template, "acme/app")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["acme", "acme/app/x", "../etc", "acme/..", "-x/app", "acme/a b", "acme/app\n", ""])
def test_a_repositorys_name_is_taken_strictly(name: str) -> None:
    with pytest.raises(SandboxFailed):
        address("https://github.example/{repository}.git", name)


@pytest.mark.parametrize(
    "template",
    [
        "ext::sh -c id",
        "ssh://host/{repository}",
        "http://host/{repository}",
        "file:///x",
        "relative",
        "https://u:p@h/{repository}",
    ],
)
def test_no_other_protocol_is_cloned(template: str) -> None:
    with pytest.raises(SandboxFailed):
        address(template, "acme/app")


def test_a_repository_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SandboxFailed) as caught:
        analyze(NPM, f"{tmp_path}/{{repository}}", "acme/app")
    assert caught.value.code == "clone_failed"


def printed(program: str, tree: Path, bounds: Bounds = QUICK, limits: Limits = LIMITS) -> bytes:
    """What a shell program says that runs contained."""
    return run(limited(limits, "/bin/sh", "-c", program), tree, bounds)


def test_the_environment_holds_no_secret(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERMALOG_DATABASE_URL", "PERMALOG_LLM_API_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "PGPASSWORD"):
        monkeypatch.setenv(name, SECRET)
    said = printed("env; cat /proc/self/environ", tree).decode(errors="replace")
    assert SECRET not in said
    # Where Sentry's SDK was started in this process, it tells every child process which trace it belongs to.
    assert {line.partition("=")[0] for line in said.splitlines() if "=" in line} <= {
        "SUBPROCESS_SENTRY_TRACE", "SUBPROCESS_BAGGAGE",
        "PATH", "HOME", "LANG", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE",
    } | {said.splitlines()[-1].partition("=")[0]}  # fmt: skip


def test_root_is_given_up(tree: Path) -> None:
    assert printed("id -u", tree).strip() == str(65534 if os.getuid() == 0 else os.getuid()).encode()


def test_a_fork_bomb_is_bounded_and_ends(tree: Path) -> None:
    tree.chmod(0o777)
    bomb = 'f() { (f & f &) 2>/dev/null; echo x >>"$HOME/forked"; }; f; sleep 60'
    with pytest.raises(SandboxFailed) as caught:
        printed(bomb, tree, replace(QUICK, seconds=2))
    assert caught.value.code in {"sandbox_timeout", "sandbox_failed"}
    # They are killed; under load, the last of them needs a moment to be gone.
    ends = time.monotonic() + 20
    while tree in working_folders():
        assert time.monotonic() < ends
        time.sleep(0.01)


def working_folders() -> list[Path]:
    """Of all processes that can be looked into."""
    found: list[Path] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append(folder.joinpath("cwd").readlink())
    return found


def test_what_a_program_started_goes_with_it(tree: Path) -> None:
    """A child in the background holds neither the caller nor itself alive."""
    assert printed("sleep 300 & echo $!", tree)
    pid = int(printed("sleep 300 & echo $!", tree))
    ends = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("sleep 60", "sandbox_timeout"),
        ("while :; do :; done", "sandbox_timeout"),
        ("yes", "sandbox_output"),
        ("exit 3", "sandbox_failed"),
        ("head -c 3000000 /dev/zero >big", "sandbox_failed"),  # one file
        ("for i in 1 2 3 4 5 6 7 8 9; do head -c 1000000 /dev/zero >f$i; done; sleep 60", "sandbox_disk"),
    ],
)
def test_each_bound_holds(tree: Path, program: str, code: str) -> None:
    tree.chmod(0o777)
    with pytest.raises(SandboxFailed) as caught:
        printed(program, tree, Bounds(seconds=3, disk=4_000_000, output=1_000_000))
    assert caught.value.code == code


def test_memory_is_bounded(tree: Path) -> None:
    program = "import resource, json; print(json.dumps([resource.getrlimit(resource.RLIMIT_AS)[0]]))"
    # The interpreter may lie where only root reads it.
    limits = replace(LIMITS, drop=False, processes=64)
    said = run(limited(limits, sys.executable, "-I", "-c", program), tree, QUICK)
    assert json.loads(said) == [LIMITS.memory]
    with pytest.raises(SandboxFailed):
        run(limited(limits, sys.executable, "-I", "-c", f"bytearray({2 * 1024**3})"), tree, QUICK)


def test_the_search_itself_runs_within_its_limits(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree, {"a.js": "require('left-pad')" + " " * 1_000_000})
    monkeypatch.setattr(runner, "_MEMORY", 1024**2)
    with pytest.raises(SandboxFailed):
        searched(tree, NPM)
