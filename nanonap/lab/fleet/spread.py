"""A campaign's work, spread over a fleet: pure, in batches of some seconds, done again where a worker was lost."""

import contextlib
import itertools
import math
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from distributed import Client, Future

from nanonap.base.terminal import messages
from nanonap.lab.fleet import hosted
from nanonap.lab.fleet.client import Fleet, addresses, check_same, close, dashboard_of, described, show_dashboard
from nanonap.lab.fleet.errors import FleetUnreachable
from nanonap.lab.fleet.hand import Done
from nanonap.lab.fleet.serving import BATCH

#: An item of which a hand, or a worker that had it alone, died so often is a finding.
MOST_DEATHS = 3
_AIM_S, _LONGEST_S = 10.0, 60.0
_EACH = 2  # batches that a worker has at a time: one that it does, one that waits
_POLL_S, _LOOK_S = 0.05, 5.0
_AWAY_S = 600.0


def spread(fleet: Fleet, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[Any, Done]]:
    """(an item, what came of it), as they come; ``died`` of one that took MOST_DEATHS hands with it.

    ``function`` is found by its name on the hosts; what it raises is raised here. Raises FleetUnreachable where
    nobody is left to do the work, FleetDiffers.
    """
    spreading = _Spreading(fleet, function, items)
    try:
        while spreading.goes_on():
            yield from spreading.come_in()
            time.sleep(_POLL_S)
    finally:
        close(spreading.client)  # the hosts end what nobody waits for


class _Spreading:
    """``_waiting``: batches to send, the numbers of items; ``_flying``: those that are sent."""

    def __init__(self, fleet: Fleet, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self._fleet, self._function, self._items = fleet, function, items
        self.client: Client = fleet.connect()
        check_same(described(self.client))
        show_dashboard(self.client.run_on_scheduler(dashboard_of))
        self._fresh = deque(range(len(items)))
        self._again: deque[list[int]] = deque()
        self._flying: dict[Future[list[Done]], list[int]] = {}
        self._deaths: Counter[int] = Counter()
        self._campaign, self._numbers = secrets.token_hex(4), itertools.count()
        self._took_s, self._done = 0.0, 0
        self._workers, self._looked_at = 1, float("-inf")

    def goes_on(self) -> bool:
        """Send what there is to be sent; whether anything is to come."""
        self._look()
        while (self._fresh or self._again) and len(self._flying) < _EACH * self._workers:
            numbers = self._again.popleft() if self._again else self._batch()
            key = f"{BATCH}{self._campaign}-{next(self._numbers)}"
            batch = [self._items[each] for each in numbers]
            with self._reconnecting():
                future = self.client.submit(hosted.work, key, self._function, batch, key=key, retries=0, pure=False)
                self._flying[future] = numbers
                continue
            self._again.append(numbers)
        return bool(self._flying or self._fresh or self._again)

    def _batch(self) -> list[int]:
        """As many as take _AIM_S, by what they took so far; fewer at the end, so that all workers end together."""
        each_s = self._took_s / self._done if self._done else _LONGEST_S
        share = math.ceil(len(self._fresh) / (_EACH * self._workers))
        count = max(1, min(int(_AIM_S / max(each_s, 1e-4)), share))
        return [self._fresh.popleft() for _ in range(min(count, len(self._fresh)))]

    def come_in(self) -> Iterator[tuple[Any, Done]]:
        """What has come. A batch that was lost is sent again, each item alone."""
        for future, numbers in [pair for pair in self._flying.items() if pair[0].status != "pending"]:
            del self._flying[future]
            done: list[Done] = []
            with contextlib.suppress(Exception):  # lost: the worker, the link or the scheduler
                done = future.result(timeout=_LONGEST_S)
            for number, each in zip(numbers, done, strict=False):
                if each.error is not None:
                    raise each.error
                self._took_s, self._done = self._took_s + each.seconds, self._done + 1
                if each.died:
                    yield from self._died(number)
                else:
                    yield self._items[number], each
            lost = numbers[len(done) :]
            if len(lost) == 1 and future.status == "error":
                yield from self._died(lost[0])
            else:
                self._again.extend([each] for each in lost)

    def _died(self, number: int) -> Iterator[tuple[Any, Done]]:
        self._deaths[number] += 1
        if self._deaths[number] < MOST_DEATHS:
            self._again.append([number])
        else:
            yield self._items[number], Done(died=True)

    def _look(self) -> None:
        """Now and then: how many workers there are; a scheduler that was lost is looked for."""
        if self.client.status == "running" and time.monotonic() - self._looked_at < _LOOK_S:
            return
        with self._reconnecting():
            self._workers = max(1, len(addresses(self.client)))
        self._looked_at = time.monotonic()

    @contextlib.contextmanager
    def _reconnecting(self) -> Iterator[None]:
        """Where the block fails for want of a scheduler: wait for one. What was sent to the old one is lost."""
        try:
            yield
        except Exception as error:
            messages().print("[yellow]note[/] the scheduler is gone; it is waited for", highlight=False)
            until = time.monotonic() + _AWAY_S
            while True:
                close(self.client)
                time.sleep(_POLL_S)
                with contextlib.suppress(FleetUnreachable):
                    self.client = self._fleet.connect(timeout_s=3)
                    break
                if time.monotonic() > until:
                    raise FleetUnreachable(f"{self._fleet.address}: gone, and not back in {_AWAY_S:.0f} s") from error
