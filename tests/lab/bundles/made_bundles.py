"""Made results to bundle, and bundles changed as an ill-willed maker could."""

import hashlib
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nanonap.lab.ground.errors import BadBundle
from nanonap.lab.publish.bundle import SUMS
from nanonap.lab.publish.unbundle import redraw_bundle
from tests.lab.made import FakeRun

THE_SAME = "is the bundled one, byte for byte"
ABOUT_BENCH = {"command": "invoke bench --quick --seed 7", "seed": 7, "notes": ["Zürich: ≥ 1 note"]}
MEDIANS_US = {"stock": 1100, "netpoll": 180, "netpoll+slack1": 140, "floor": 165, "floor+slack1": 125}


def made_runs(blocks: int = 3) -> list[FakeRun]:
    drawn = random.Random(5)  # noqa: S311 - the same figures every time
    return [
        FakeRun(
            arm,
            {
                requested: [requested + drawn.randrange(1, median * 1_000) for _ in range(40)]
                for requested in (100_000, 1_000_000)
            },
            block,
            quota=quota,
            throttling=None if quota == "none" else (10, 3, 5),
            cpu_ns=drawn.randrange(1_000_000),
        )
        for arm, median in MEDIANS_US.items()
        for block in range(blocks)
        for quota in ("none", "50%")
    ]


def rewrite(bundle: Path, change: Callable[[dict[str, bytes]], None], *, sums: bool = True) -> Path:
    """The bundle with its files changed, and (``sums``) the checksums made to fit: what an ill-willed maker can do."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if sums:
        lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in files if name != SUMS)
        files[SUMS] = "".join(lines).encode()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return bundle


def without(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        del files[name]

    return change


def adding(bundle: Path, entry: zipfile.ZipInfo | str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return bundle


def refused(bundle: Path, match: str) -> None:
    """Refused in every form, and nothing is left."""
    before = sorted(bundle.parent.iterdir())
    for form in ("html", "json"):
        with pytest.raises(BadBundle, match=match):
            redraw_bundle(bundle, form)
    assert sorted(bundle.parent.iterdir()) == before
