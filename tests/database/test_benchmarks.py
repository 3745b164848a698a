"""The benchmarks run. What they measure is no test's business: timing belongs there, and never here."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.figures import LIMIT, PERMALOG, Figure


@pytest.mark.slow
def test_the_benchmarks_run_and_write_down_what_they_measured(
    embedded18: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    options = ["--own", "--events", "300", "--repetitions", "1", "--singles", "10"]
    assert main([*options, "--url", embedded18, "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(file.read_text())["figures"]
    assert {figure["what"] for figure in figures} >= {"import", "first", "summary", "the largest log, csv", "all"}
    assert all(value >= 0 for figure in figures for values in figure["values"].values() for value in values)
    assert "to plain" in printed


def test_what_was_too_small_to_measure_has_no_ratio() -> None:
    """A hundred events may take less processor time than the ten milliseconds in which it is counted."""
    figure = Figure("writing", "processor time", "µs")
    figure.add(PERMALOG, 100.0)
    figure.add(LIMIT, 0.0)
    assert figure.ratio(LIMIT) is None
    figure.values[LIMIT] = [50.0]
    assert figure.ratio(LIMIT) == 2
