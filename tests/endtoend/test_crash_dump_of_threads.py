"""With GOTRACEBACK=crash every thread tells its own stack: those that wait in the new code tell it whole."""

import pytest

from nanonap.trials.unwinding.checks import crash_findings
from tests.endtoend.arms import PATCHES_AND_LIVE, Survivors


@pytest.mark.parametrize(("variant", "go"), PATCHES_AND_LIVE)
def test_threads_that_wait_in_the_new_code_show_their_callers(survivors: Survivors, variant: str, go: str) -> None:
    assert crash_findings(survivors(variant, go), variant) == []
