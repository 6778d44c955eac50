"""The tests and the checks, as `invoke test` and CI run them."""

import subprocess
import sys
from pathlib import Path


def run_tests(project: Path, only: str | None) -> int:
    """Run pytest on two processes; its exit status."""
    return _python(project, "pytest", "-n", "2", *(["-k", only] if only else []))


def run_checks(project: Path) -> int:
    """Run ruff (lint and format) and mypy. The worst exit status."""
    return max(
        _python(project, "ruff", "check", "."),
        _python(project, "ruff", "format", "--check", "."),
        _python(project, "mypy"),
    )


def _python(project: Path, module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=project, check=False).returncode
