"""The arm ``live``: a stock server is injected, ejected and injected again while its work goes on."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import patcher
from nanonap.trials.corpus.workplace import expect
from nanonap.trials.errors import CorpusIncomplete
from patcher.live.errors import NotPermitted

_SLACK_NS = 1
_BREATH_S = 0.05  # between rounds: what prepares a change wants a processor, too


class Living:
    """The changes to one server, and what they came to."""

    def __init__(self) -> None:
        """Before the first change."""
        self._rounds = 0
        self._pauses_ns: list[int] = []

    def under_work(self, pid: int) -> Iterator[None]:
        """The work's rounds: as many as there is time for while each change is made, and a whole one behind each.

        Raises what ``patcher.inject`` and ``eject`` raise, CorpusIncomplete where this user may not, and WorkFailed
        where a change leaves another state than it should.
        """
        changes: tuple[Callable[[int], None], ...] = (self._inject, self._eject, self._inject)
        with ThreadPoolExecutor(1) as pool:
            for change in changes:
                made = pool.submit(change, pid)
                while wait([made], _BREATH_S).not_done:
                    yield from self._round()
                try:
                    made.result()
                except NotPermitted as error:
                    raise CorpusIncomplete(f"arm live: {error}") from error
                yield from self._round()

    def told(self) -> str:
        """For the table."""
        longest_ms = max(self._pauses_ns) / 1e6
        done = f"injected, ejected and injected again in {self._rounds} rounds of it"
        return f"{done}; stood still for {longest_ms:.1f} ms at most"

    def _round(self) -> Iterator[None]:
        yield
        self._rounds += 1

    def _inject(self, pid: int) -> None:
        self._pauses_ns.append(patcher.inject(pid, slack_ns=_SLACK_NS).pause_ns)
        seen = patcher.status(pid)
        expect("state and timer slack", (seen.state, seen.slack_ns), ("injected", _SLACK_NS))

    def _eject(self, pid: int) -> None:
        self._pauses_ns.append(patcher.eject(pid).pause_ns)
        expect("state", patcher.status(pid).state, "stock")
