"""What can go wrong on the measuring side, each with the exit status that scripts may rely on."""

from nanonap.base.errors import NanonapError


class NothingBuilt(NanonapError):
    """An arm's file is not there: the message names the task that makes it."""

    exit_code = 40


class BadResult(NanonapError):
    """A result folder that is not one: a file is missing, broken, of another schema, or disagrees with another."""

    exit_code = 41


class RunFailed(NanonapError):
    """The measured program crashed, hung, refused its options, or gave output that does not add up."""

    exit_code = 42


class QuotaUnavailable(NanonapError):
    """A CPU quota cannot be set here; ``reason`` says why and ``remedy`` what would change that."""

    exit_code = 43

    def __init__(self, backend: str, reason: str, remedy: str) -> None:
        """Keep the parts, so that a report can show them apart; the message joins them."""
        super().__init__(f"{backend}: {reason}; {remedy}")
        self.backend, self.reason, self.remedy = backend, reason, remedy


class BadBundle(NanonapError):
    """Not a bundle, or a damaged one: its names, sizes or checksums are not those of a whole bundle."""

    exit_code = 44


class NotComparable(NanonapError):
    """Two results between which a comparison would say nothing; the message says why."""

    exit_code = 45


class InsideLimit(NanonapError):
    """A group above limits the CPU time of what would be measured, and the user did not say that this is meant."""

    exit_code = 49
