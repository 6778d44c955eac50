"""The progress bar of long work, on stderr; gone when the work is done, and absent where stderr is no terminal."""

from typing import TYPE_CHECKING

from nanonap.base.terminal import messages

if TYPE_CHECKING:
    from rich.progress import Progress


def progress_bar() -> "Progress":
    """A bar to be used as a context manager. rich is imported on first use: starting must be quick."""
    from rich.progress import Progress  # noqa: PLC0415 - as said above

    console = messages()
    return Progress(console=console, transient=True, disable=not console.is_terminal)
