"""Where generated things live: under ``artifacts/`` beside tasks.py, wherever the user stands."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
GOSRC = PROJECT / "gosrc"
ARTIFACTS = PROJECT / "artifacts"
TOOLCHAINS = ARTIFACTS / "toolchains"
BUILD = ARTIFACTS / "build"
PATCHED = ARTIFACTS / "patched"
TRIED = ARTIFACTS / "tried"
"""What tests and trials build for themselves: `invoke patch` patches all that lies in BUILD."""
RESULTS = ARTIFACTS / "results"
