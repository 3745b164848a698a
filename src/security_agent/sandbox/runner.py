"""The built-in runner: clones, searches, and says what follows, as a structured result.

It sees whether a package is used, not whether a weakness of it can be reached: it never says ``yes``. It says ``no``,
and suggests to dismiss, only where the package is declared directly, nothing that was resolved depends on it, and every
file was read without finding its name. Everything else is ``unknown``, with what was found.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import orjson

from security_agent.extraction import Exploitable, Extracted, Result, SuggestedAction
from security_agent.sandbox.clone import address, clone
from security_agent.sandbox.contained import Bounds, SandboxFailed, own, run
from security_agent.sandbox.packages import package
from security_agent.sandbox.search import Found

if TYPE_CHECKING:
    from threading import Event

    from security_agent.triage.subject import Subject

BOUNDS: Final = Bounds(seconds=120, disk=4 * 1024**3)
_MEMORY: Final = 2 * 1024**3


def analyze(
    subject: Subject, template: str, repository: str, *, token: str | None = None, stopping: Event | None = None
) -> Extracted:
    """Looks at a repository's code.

    Args:
        subject: what to look for.
        template: where repositories lie, of `security_agent.sandbox.clone.address`.
        repository: ``owner/name``.
        token: for private repositories.
        stopping: set when this process is to end.

    Raises:
        Stopped: it was ended for that.
        SandboxFailed: the code could not be had or looked at; `code` says how.
    """
    if package(subject.ecosystem, subject.package) is None:
        return Extracted(result=_not_known(subject), extractor="runner")
    where = address(template, repository)
    with TemporaryDirectory(prefix="permalog-sandbox-") as name:
        folder = Path(name)
        tree = clone(where, folder, token=token, stopping=stopping)
        _hand_over(folder)
        return Extracted(result=judged(subject, searched(tree, subject, stopping=stopping)), extractor="runner")


def searched(tree: Path, subject: Subject, bounds: Bounds = BOUNDS, *, stopping: Event | None = None) -> Found:
    """What a contained search of a tree finds.

    Raises:
        SandboxFailed: it ran into a bound, or failed.
    """
    request = {
        "tree": str(tree), "ecosystem": subject.ecosystem, "package": subject.package,
        "memory": _MEMORY, "seconds": int(bounds.seconds) + 1,
    }  # fmt: skip
    printed = run(own("security_agent.sandbox.search"), tree, bounds, given=orjson.dumps(request), stopping=stopping)
    try:
        return Found(**orjson.loads(printed))
    except (orjson.JSONDecodeError, TypeError):
        raise SandboxFailed("sandbox_failed", "the search did not say what it found") from None


def _hand_over(folder: Path) -> None:
    """To whom root becomes when it searches."""
    if os.geteuid() != 0:
        return
    from security_agent.sandbox.limits import NOBODY  # noqa: PLC0415

    for inner, folders, files in os.walk(folder):
        for name in (inner, *(os.path.join(inner, one) for one in (*folders, *files))):  # noqa: PTH118
            os.chown(name, NOBODY, NOBODY, follow_symlinks=False)


def judged(subject: Subject, found: Found) -> Result:
    """What follows from what was found."""
    if found.use_count:
        fix = f"update {subject.package} to {subject.patched_version}" if subject.patched_version else None
        return Result(
            exploitable=Exploitable.UNKNOWN,
            reasoning=f"The code uses {subject.package} in {found.use_count} places. Whether the vulnerable part is"
            f" reached, a search cannot tell. {_extent(found)}",
            usage_locations=tuple(found.uses),
            suggested_fix=fix,
            suggested_action=SuggestedAction.OPEN_PR if fix else SuggestedAction.MANUAL_REVIEW,
            summary=f"{subject.package} is used in {found.use_count} places.",
        )
    if found.mention_count:
        return _unknown(
            subject,
            SuggestedAction.MANUAL_REVIEW,
            "The code does not import it, but names it elsewhere, such as in a configuration.",
            found,
            tuple(found.mentions),
        )
    if not found.complete:
        return _unknown(subject, SuggestedAction.MANUAL_REVIEW, "No use was found, but not every file was read.", found)
    if found.dependents:
        others = ", ".join(sorted(set(found.dependents) - {"?"})[:10]) or "another package"
        return _unknown(
            subject,
            SuggestedAction.MONITOR,
            f"The code does not use it itself; {others} depends on it, and may.",
            found,
        )
    if not found.declared:
        return _unknown(
            subject, SuggestedAction.MONITOR, "The code does not use it, and no manifest declares it directly.", found
        )
    return Result(
        exploitable=Exploitable.NO,
        reasoning=f"{subject.package} is declared in {', '.join(found.declared[:5])}; no code uses it, no file names"
        f" it, and nothing that was resolved depends on it. {_extent(found)}",
        suggested_fix=f"remove {subject.package} from {found.declared[0]}",
        suggested_action=SuggestedAction.DISMISS,
        summary=f"{subject.package} is declared and not used.",
    )


def _unknown(subject: Subject, action: SuggestedAction, why: str, found: Found, places: tuple[str, ...] = ()) -> Result:
    return Result(
        exploitable=Exploitable.UNKNOWN,
        reasoning=f"{why} {_extent(found)}",
        usage_locations=places,
        suggested_action=action,
        summary=f"{subject.package}: {why}"[:2000],
    )


def _extent(found: Found) -> str:
    """How far the search went."""
    parts = [f"{found.files} files were looked at"]
    if found.large:
        parts.append(f"{len(found.large)} too large ones left out ({', '.join(found.large[:3])})")
    if found.links:
        parts.append(f"{found.links} links not followed")
    if found.unreadable:
        parts.append(f"{found.unreadable} could not be read")
    return "; ".join(parts) + "."


def _not_known(subject: Subject) -> Result:
    return Result(
        exploitable=Exploitable.UNKNOWN,
        reasoning="The built-in runner knows npm, pip, RubyGems and Cargo only.",
        suggested_action=SuggestedAction.MANUAL_REVIEW,
        summary=f"The ecosystem of {subject.package} is not one that the built-in runner knows.",
    )
