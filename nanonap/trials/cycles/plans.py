"""What is to be done with a program's process, known beforehand: it may run where nothing can be planned."""

from dataclasses import dataclass, field

from patcher.live.script import Script


@dataclass
class Plans:
    """Scripts by the action and by what memory holds in all ``spans``, (address as linked, bytes), one after the other.

    ``entry``: the program's, as linked.
    """

    entry: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)
    scripts: list[tuple[str, bytes, Script]] = field(default_factory=list)
