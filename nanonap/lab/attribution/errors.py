"""What can go wrong when the kernel is asked what it did. Standard library only: the recorder runs in guests too."""

from typing import ClassVar

from nanonap.base.errors import NanonapError


class TracingUnavailable(NanonapError):
    """The kernel's tracepoints cannot be recorded here; ``reason`` says why and ``remedy`` what would change that."""

    exit_code: ClassVar[int] = 47

    def __init__(self, reason: str, remedy: str) -> None:
        """Keep the parts, so that a report can show them apart; the message joins them."""
        super().__init__(f"tracing: {reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


class RecordingFailed(NanonapError):
    """The recorder ended before it was asked to, or what it wrote is no trace; the message has its own words."""

    exit_code: ClassVar[int] = 48
