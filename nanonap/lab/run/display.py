"""What runs and what remains, on stderr."""

from typing import Self

from rich.progress import BarColumn, Progress, TextColumn

from nanonap.base.terminal import messages


class Display:
    """A progress bar in a terminal, a line per part elsewhere.

    Redrawn between runs only: a bar that refreshed itself would use CPU beside the program being measured.
    """

    def __init__(self) -> None:
        """Nothing is drawn before the block is entered."""
        columns = (BarColumn(bar_width=24), TextColumn("{task.fields[left]}"), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=messages(), auto_refresh=False, transient=True)
        self._task = self._progress.add_task("starting", total=None, left="")
        self._part = ""

    def __enter__(self) -> Self:
        """Take the last line of the terminal."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the line back, whatever happened."""
        self._progress.stop()

    def show(self, part: str, what: str, elapsed_ns: int, left_ns: int) -> None:
        """``part`` (a block), what runs in it, and the time gone and expected."""
        left = f"{_clock(left_ns)} left"
        if not messages().is_terminal:
            if part != self._part:
                messages().print(f"{part}, {left}", highlight=False)
            self._part = part
            return
        self._progress.update(
            self._task,
            description=f"{part}: {what}",
            completed=elapsed_ns,
            total=elapsed_ns + left_ns,
            left=left,
            refresh=True,
        )


def _clock(duration_ns: int) -> str:
    minutes, seconds = divmod(max(round(duration_ns / 1e9), 0), 60)
    return f"{minutes}:{seconds:02d}"
