"""Repositories whose authors mean harm, cloned and searched by the built-in runner."""

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from agent.subjects import subject
from security_agent.sandbox import clone as cloning
from security_agent.sandbox.clone import clone
from security_agent.sandbox.contained import Bounds, SandboxFailed, limited, run, weight
from security_agent.sandbox.limits import Limits
from security_agent.sandbox.runner import analyze

NPM = subject(package="left-pad", ecosystem="npm")
Tree = list[tuple[str, bytes, str]]
"""Modes, names and objects."""


class Forge:
    """A local repository ``acme/app``, whose objects are made by hand: git's own commands would refuse them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "git" / "acme" / "app"
        self.folder.mkdir(parents=True)
        self.template = str(folder / "git" / "{repository}")
        self("init", "-q", "-b", "main")

    def __call__(self, *arguments: str, given: bytes = b"") -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@tests.example", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.folder), *identity, *arguments]
        return subprocess.run(command, input=given, check=True, capture_output=True).stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        return self("hash-object", "-w", "--stdin", given=content)

    def tree(self, entries: Tree) -> str:
        raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(to) for mode, name, to in entries)
        return self("hash-object", "-t", "tree", "--literally", "-w", "--stdin", given=raw)

    def commit(self, tree: str) -> None:
        self("update-ref", "refs/heads/main", self("commit-tree", "-m", "first", tree))


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path)


def test_a_forged_repository_is_searched_where_nothing_is_wrong(forge: Forge) -> None:
    forge.commit(forge.tree([("100644", b"a.js", forge.blob(b"require('left-pad')"))]))
    assert analyze(NPM, forge.template, "acme/app").result.usage_locations == ("a.js:1",)


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT", b"git~1", b"a/../../out", "‌.git".encode()])
def test_a_tree_does_not_lead_out_of_the_clone(forge: Forge, tmp_path: Path, name: bytes) -> None:
    evil = forge.tree([("100755", b"config", forge.blob(b"[core]\n\tfsmonitor = touch /tmp/ran\n"))])
    forge.commit(forge.tree([("40000", name, evil)]))
    outside = {path for path in tmp_path.rglob("config") if forge.folder not in path.parents}
    with suppress(SandboxFailed):
        assert analyze(NPM, forge.template, "acme/app").result.usage_locations == ()
    assert {path for path in tmp_path.rglob("config") if forge.folder not in path.parents} == outside
    assert not Path("/tmp/ran").exists()  # noqa: S108  what the forged configuration would make


def test_a_repository_that_unfolds_to_endless_files_is_left(forge: Forge, tmp_path: Path) -> None:
    """A few kilobytes, and ten to the power of seven empty files."""
    tree = forge.tree([("100644", b"%d" % n, forge.blob(b"")) for n in range(10)])
    for _ in range(6):
        tree = forge.tree([("40000", b"%d" % n, tree) for n in range(10)])
    forge.commit(tree)
    folder = tmp_path / "clone"
    folder.mkdir()
    with pytest.raises(SandboxFailed) as caught:
        clone(str(forge.folder), folder, bounds=Bounds(seconds=60, disk=4 * 1024**2))
    assert caught.value.code == "sandbox_disk"


def test_empty_files_have_their_weight(tmp_path: Path) -> None:
    for n in range(100):
        (tmp_path / str(n)).touch()
    (tmp_path / "folder").mkdir()
    assert weight(tmp_path) >= 101 * 4096


def test_a_file_that_unfolds_to_a_huge_one_is_not_written(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloning, "_FILE", 1024**2)
    forge.commit(forge.tree([("100644", b"huge.js", forge.blob(b" " * 8 * 1024**2))]))
    folder = tmp_path / "clone"
    folder.mkdir()
    with pytest.raises(SandboxFailed) as caught:
        clone(str(forge.folder), folder)
    assert caught.value.code == "clone_failed"
    assert weight(folder) < 2 * 1024**2


def test_no_filter_of_the_repository_is_run(forge: Forge, tmp_path: Path) -> None:
    config = f'[filter "evil"]\n\tsmudge = touch {tmp_path}/ran; cat\n\trequired = true\n'.encode()
    forge.commit(
        forge.tree([
            ("100644", b".gitattributes", forge.blob(b"*.js filter=evil diff=evil merge=evil\n")),
            ("100644", b".gitconfig", forge.blob(config)),
            ("100644", b"a.js", forge.blob(b"require('left-pad')")),
        ])
    )  # fmt: skip
    assert analyze(NPM, forge.template, "acme/app").result.usage_locations == ("a.js:1",)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_is_searched_as_nobody_reaches_nothing_of_ours(tmp_path: Path, make_open: Callable[[Path], None]) -> None:
    secret, tree = tmp_path / "secret", tmp_path / "tree"
    secret.write_text("of ours")
    secret.chmod(0o600)
    tree.mkdir()
    make_open(tree)
    program = f"cat {secret}; echo x >{tmp_path}/written; ls /proc/1/environ && cat /proc/1/environ; echo end"
    limits = Limits(memory=1024**3, processor_seconds=20, file_bytes=1024**2, processes=16)
    said = run(limited(limits, "/bin/sh", "-c", program), tree, Bounds(seconds=20, disk=1024**2))
    assert b"of ours" not in said
    assert b"end" in said
    assert not (tmp_path / "written").exists()


@pytest.fixture
def make_open(tmp_path: Path) -> Callable[[Path], None]:
    """Lets everybody through to a folder of the test."""

    def make(folder: Path) -> None:
        for one in (tmp_path, *list(tmp_path.parents)[:3]):
            if one.stat().st_uid == os.getuid() and one != Path("/tmp"):  # noqa: S108
                one.chmod(0o755)
        folder.chmod(0o755)

    return make
