"""Where the code lies, and where generated things do.

In a checkout all that is generated goes under ``artifacts/`` beside tasks.py, wherever the user stands. Installed,
results go under ``artifacts/results`` where the user stands, and everything else into the user's cache folder.
"""

from pathlib import Path

from nanonap import INSTALLED

PROJECT = Path(__file__).resolve().parents[2]
"""The folder that holds both packages: the checkout, or where they were installed."""

if INSTALLED:
    # What needs a folder for generated things belongs to the lab, which brings platformdirs.
    from platformdirs import user_cache_path

    GOSRC = PROJECT / "nanonap" / "gosrc"
    ARTIFACTS = user_cache_path("nanonap")
    RESULTS = Path("artifacts") / "results"
else:
    GOSRC = PROJECT / "gosrc"
    ARTIFACTS = PROJECT / "artifacts"
    RESULTS = ARTIFACTS / "results"
TOOLCHAINS = ARTIFACTS / "toolchains"
BUILD = ARTIFACTS / "build"
PATCHED = ARTIFACTS / "patched"
TRIED = ARTIFACTS / "tried"
"""What tests and trials build for themselves: `invoke patch` patches all that lies in BUILD."""
