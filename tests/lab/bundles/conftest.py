"""A result and the bundle of it."""

from pathlib import Path

import pytest

from nanonap.lab.publish.bundle import write_bundle
from tests.lab.bundles.made_bundles import ABOUT_BENCH, made_runs
from tests.lab.made import write_result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_result(tmp_path / "result of mine", made_runs(), ABOUT_BENCH)


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Drawn once: that takes seconds."""
    where = tmp_path_factory.mktemp("bundled")
    write_bundle(write_result(where / "another", made_runs(), ABOUT_BENCH), where / "it.zip")
    return (where / "it.zip").read_bytes()


@pytest.fixture
def bundle(bundled: bytes, tmp_path: Path) -> Path:
    """A bundle of what ``folder`` has."""
    where = tmp_path / "result of mine.zip"
    where.write_bytes(bundled)
    return where
