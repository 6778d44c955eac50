"""What each test of running processes starts from."""

import pytest

from patcher.live import planning


@pytest.fixture(autouse=True)
def _nothing_is_known_of_any_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test plans anew, whatever was planned before it in the same worker."""
    monkeypatch.setattr(planning, "_known", {})
