"""What the trials can find or lack; exit statuses 50 to 59."""

from nanonap.base.errors import NanonapError


class CorpusChanged(NanonapError):
    """A test's verdict or a program's work is not the same patched as stock."""

    exit_code = 50


class CorpusIncomplete(NanonapError):
    """A program or test binary could not be tried: not to be had, not to be patched, or of no use unpatched."""

    exit_code = 51


class MatrixFailed(NanonapError):
    """A cell of the matrix failed: a release and build mode in which a patch does not hold what it promises."""

    exit_code = 52


class FuzzFound(NanonapError):
    """A damaged file ended in something else than an error of ours or a right patch, or took too much."""

    exit_code = 54


class CyclesFailed(NanonapError):
    """A process did not live through being injected and ejected, or through a kill in the midst of it."""

    exit_code = 57


class TooSlow(NanonapError):
    """The patcher takes more time or memory of a large file than it is held to."""

    exit_code = 56
