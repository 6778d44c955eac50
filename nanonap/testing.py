"""The tests and the checks, as `invoke test` and CI run them."""

import subprocess
import sys
from pathlib import Path


def run_tests(project: Path, only: str | None) -> int:
    """Run pytest: in parallel what may be, then one by one what measures or sets quotas. The worst exit status."""
    chosen = ["-k", only] if only else []
    parallel = _python(project, "pytest", "-n", "2", "-m", "not measures", *chosen)
    alone = _python(project, "pytest", "-m", "measures", *chosen)
    nothing = 5  # pytest's status for "no tests collected"
    return max(0 if each == nothing and only else each for each in (parallel, alone))


def run_checks(project: Path) -> int:
    """Run ruff (lint and format) and mypy. The worst exit status."""
    return max(
        _python(project, "ruff", "check", "."),
        _python(project, "ruff", "format", "--check", "."),
        _python(project, "mypy"),
    )


def _python(project: Path, module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=project, check=False).returncode
