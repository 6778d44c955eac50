"""The exit status of a command line that Invoke cannot read: 2, as for every other usage error.

Invoke gives 1 to its ParseError, and whatever it catches as an Exit the status that this carries (Program.run). The
parser raises the class below, which is both.
"""

from invoke import parser
from invoke.exceptions import Exit, ParseError
from invoke.parser.context import ParserContext

from nanonap.errors import UsageError


class UnreadableCommandLine(ParseError, Exit):
    """Invoke's ParseError with our exit status."""

    def __init__(self, message: str, context: ParserContext | None = None) -> None:
        """As ParseError; the Exit in it says nothing, for Invoke prints a ParseError itself."""
        ParseError.__init__(self, message, context)
        self.args = (message,)
        self.message = None
        self._code = UsageError.exit_code


def give_parse_errors_the_usage_status() -> None:
    """Let Invoke's parser raise our class; tasks.py calls this before the command line is parsed."""
    parser.parser.ParseError = UnreadableCommandLine  # type: ignore[attr-defined, assignment]
