"""How the code of each ecosystem uses a package, and where it says that it does. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from re import Pattern
from typing import Final

_PIP_NAMES: Final = {
    "attrs": "attr attrs", "beautifulsoup4": "bs4", "djangorestframework": "rest_framework", "dnspython": "dns",
    "gitpython": "git", "grpcio": "grpc", "msgpack-python": "msgpack", "mysqlclient": "MySQLdb",
    "opencv-python": "cv2", "opencv-python-headless": "cv2", "pillow": "PIL", "protobuf": "google.protobuf",
    "psycopg2-binary": "psycopg2", "pycryptodome": "Crypto", "pycryptodomex": "Cryptodome", "pyjwt": "jwt",
    "pymysql": "pymysql", "pynacl": "nacl", "pyopenssl": "OpenSSL", "python-dateutil": "dateutil",
    "python-docx": "docx", "python-dotenv": "dotenv", "python-jose": "jose", "python-ldap": "ldap",
    "python-multipart": "multipart python_multipart", "python-socketio": "socketio", "pyyaml": "yaml",
    "pyzmq": "zmq", "scikit-image": "skimage", "scikit-learn": "sklearn", "setuptools": "setuptools pkg_resources",
    "tensorflow-cpu": "tensorflow", "tensorflow-gpu": "tensorflow", "websocket-client": "websocket",
}  # fmt: skip
"""Distributions whose modules have other names."""


@dataclass(frozen=True, slots=True)
class Package:
    """What to look for."""

    ecosystem: str
    """``npm``, ``pip``, ``rubygems`` or ``rust``."""
    name: str
    sources: Pattern[str]
    """Files in which code may use it, by their lower-case name."""
    uses: Pattern[str]
    """A use in such a file."""
    mentions: Pattern[str]
    """Its name, or a part of it that could be its module's, anywhere else."""
    manifests: Pattern[str]
    """Files that declare what is depended on directly, by their lower-case path."""
    declares: Pattern[str]
    """Its declaration in one of these."""
    locks: Pattern[str]
    """Files that hold what was resolved."""


def package(ecosystem: str, name: str) -> Package | None:
    """What to look for; None: the ecosystem is not one that the runner knows."""
    make = {"npm": _npm, "pip": _pip, "rubygems": _rubygems, "rust": _rust, "cargo": _rust}.get(ecosystem.lower())
    return None if make is None else make(name)


def _npm(name: str) -> Package:
    n = re.escape(name)
    return Package(
        "npm",
        name,
        sources=re.compile(r".*\.(?:[cm]?[jt]sx?|vue|svelte|astro|html?|mdx|coffee)$", re.DOTALL),
        uses=re.compile(
            rf"""(?:\brequire(?:\.resolve)?|\bimport)\s*\(\s*['"`]{n}(?:/[^'"`\n]*)?['"`]"""
            rf"""|(?:\bfrom|\bimport)\s*['"]{n}(?:/[^'"\n]*)?['"]"""
        ),
        mentions=re.compile(rf"(?<![\w@/-]){n}(?![\w-])"),
        manifests=re.compile(r"(?:.*/)?package\.json$", re.DOTALL),
        declares=re.compile(rf'"{n}"\s*:\s*"'),
        locks=re.compile(r"(?:.*/)?(?:package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml)$", re.DOTALL),
    )


def _pip(name: str) -> Package:
    normal = re.sub(r"[-_.]+", "-", name).lower()
    modules = set(_PIP_NAMES.get(normal, "").split()) or {normal.replace("-", "_"), normal.replace("-", ".")}
    names = "|".join(re.escape(one) for one in sorted(modules))
    parts = {part for part in normal.split("-") if len(part) > 2} | modules | {normal}  # noqa: PLR2004
    anywhere = "|".join(re.escape(part) for part in sorted(parts)) + "|" + normal.replace("-", "[-_.]")
    return Package(
        "pip",
        name,
        sources=re.compile(r".*\.(?:pyi?|pyx|ipynb|pth)$", re.DOTALL),
        uses=re.compile(
            rf"^[ \t]*from[ \t]+(?:{names})(?![\w])|^[ \t]*import[ \t]+(?:[^\n#]*,[ \t]*)?(?:{names})(?![\w])"
            rf"""|(?:import_module|__import__)\(\s*['"](?:{names})(?![\w])""",
            re.MULTILINE | re.IGNORECASE,
        ),
        mentions=re.compile(rf"(?<![\w-])(?:{anywhere})(?![\w-])", re.IGNORECASE),
        manifests=re.compile(r"(?:.*/)?(?:[^/]*requirements[^/]*\.(?:txt|in)|requirements/[^/]*\.(?:txt|in)|pyproject\.toml"
                             r"|setup\.(?:py|cfg)|pipfile|environment\.ya?ml)$", re.DOTALL),
        declares=re.compile(rf"""(?:^|['"\s\[])(?:{normal.replace("-", "[-_.]+")})(?![\w.-])""",
                            re.MULTILINE | re.IGNORECASE),
        locks=re.compile(r"(?:.*/)?(?:poetry\.lock|uv\.lock|pdm\.lock|pipfile\.lock)$", re.DOTALL),
    )  # fmt: skip


def _rubygems(name: str) -> Package:
    n = re.escape(name)
    path = re.escape(name.replace("-", "/"))
    constant = "::".join(re.escape(part.replace("_", "")) for part in name.split("-"))
    return Package(
        "rubygems",
        name,
        sources=re.compile(r".*\.(?:rb|rake|ru|erb|haml|slim|jbuilder)$|(?:.*/)?rakefile$", re.DOTALL),
        uses=re.compile(
            rf"""\brequire\s*\(?\s*['"](?:{n}|{path})(?:/[^'"\n]*)?['"]|(?<![\w:])(?=[A-Z])(?i:{constant})(?![\w])"""
        ),
        mentions=re.compile(rf"(?<![\w-])(?:{n}|{re.escape(name.replace('-', '_'))})(?![\w-])", re.IGNORECASE),
        manifests=re.compile(r"(?:.*/)?(?:gemfile|gems\.rb|[^/]*\.gemspec)$", re.DOTALL),
        declares=re.compile(rf"""\b(?:gem|add_(?:runtime_|development_)?dependency)\s*\(?\s*['"]{n}['"]"""),
        locks=re.compile(r"(?:.*/)?(?:gemfile\.lock|gems\.locked)$", re.DOTALL),
    )


def _rust(name: str) -> Package:
    n, module = re.escape(name), re.escape(name.replace("-", "_"))
    return Package(
        "rust",
        name,
        sources=re.compile(r".*\.rs$", re.DOTALL),
        uses=re.compile(rf"\bextern\s+crate\s+{module}\b|\buse\s+(?:::)?{module}\b|(?<![\w:]){module}::"),
        mentions=re.compile(rf"(?<![\w-])(?:{n}|{module})(?![\w-])"),
        manifests=re.compile(r"(?:.*/)?cargo\.toml$", re.DOTALL),
        declares=re.compile(
            rf"""^\s*["']?{n}["']?\s*(?:=|\.)|^\[(?:[^\]]*\.)?(?:dev-|build-)?dependencies\.{n}\]"""
            rf"""|\bpackage\s*=\s*["']{n}["']""",
            re.MULTILINE,
        ),
        locks=re.compile(r"(?:.*/)?cargo\.lock$", re.DOTALL),
    )


def dependents(package: Package, lock: str, text: str) -> list[str]:
    """Which resolved packages depend on it in turn, as far as a lock file tells: these use it, whatever our code does.

    One that a lock does not name is ``?``.
    """
    file, n = lock.rpartition("/")[2], re.escape(package.name)
    if file in {"package-lock.json", "npm-shrinkwrap.json"}:
        return _npm_dependents(package.name, text)
    if file in {"cargo.lock", "uv.lock"}:
        blocks = text.split("[[package]]")[1:]
        listed = re.compile(rf'^ "{n}[ "]|\{{ name = "{n}"', re.MULTILINE | re.IGNORECASE)
        outside = [block for block in blocks if 'source = "' in block or "source = { registry" in block]
        return [_name_of(block) for block in outside if listed.search(block)]
    pattern = {
        "yarn.lock": rf'^ {{4}}"?{n}"?[ :]',
        "pnpm-lock.yaml": rf"^ {{6,}}'?{n}'?:",
        "gemfile.lock": rf"^ {{6}}{n}(?![\w-])",
        "poetry.lock": rf'^"?{re.sub("[-_.]+", "[-_.]+", package.name)}"? = ',
    }.get(file)
    return ["?"] if pattern and re.search(pattern, text, re.MULTILINE | re.IGNORECASE) else []


def _name_of(block: str) -> str:
    found = re.search(r'^name = "([\w.-]{1,100})"', block, re.MULTILINE)
    return found[1] if found else "?"


def _npm_dependents(name: str, text: str) -> list[str]:
    import json  # noqa: PLC0415

    try:
        document = json.loads(text)
        packages = {**document.get("packages", {}), **document.get("dependencies", {})}
        kinds = ("dependencies", "peerDependencies", "optionalDependencies", "requires")
        return [
            key.rpartition("node_modules/")[2]
            for key, one in packages.items()
            if key and any(name in (one.get(kind) or ()) for kind in kinds)
        ]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ["?"]
