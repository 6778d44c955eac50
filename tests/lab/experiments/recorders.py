"""What tests of recorders share."""

import functools
import os
import time
from collections.abc import Callable

import pytest

from bench.attribution.errors import TracingUnavailable
from bench.attribution.recording import Recording
from bench.experiments.skew_runs import RECORDER
from nanonap.paths import PROJECT
from tests.bench.attribution.tracing import needs_tracing

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}


@functools.cache
def refusal() -> TracingUnavailable | None:
    """Why bpftrace cannot record here; None if it can."""
    with Recording("nothing", None, "bpftrace", RECORDER) as recording:
        return recording.refusal


def needs_bpftrace() -> None:
    """Skip the test where it cannot."""
    needs_tracing()
    if (reason := refusal()) is not None:
        pytest.skip(f"needs bpftrace: {reason.reason}; {reason.remedy}")


def wait_for(condition: Callable[[], bool]) -> None:
    """As long as it takes, half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
