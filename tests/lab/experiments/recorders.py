"""What tests of recorders share."""

import functools
import os

import pytest

from nanonap.base.paths import PROJECT
from nanonap.lab.attribution.errors import TracingUnavailable
from nanonap.lab.attribution.recording import Recording
from nanonap.lab.experiments.skew.runs import RECORDER
from tests.lab.attribution.tracing import needs_tracing

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
