"""The page of other people's services: its tables are those of the kept runs."""

import runpy
from pathlib import Path

from nanonap.base.paths import PROJECT

PAGE = PROJECT / "docs" / "services.md"


def test_the_page_says_what_the_kept_runs_say() -> None:
    made = runpy.run_path(str(PROJECT / "docs" / "services" / "page.py"))
    text = PAGE.read_text(encoding="utf-8")
    assert made["page"](text) == text
    assert all((Path(made["HERE"]) / name / "runs.jsonl").is_file() for name in made["SERVICES"])
