"""A load's own figures, found in what it wrote: by a pattern, or by their place in its JSON."""

import json
import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nanonap.base.durations import UNITS
from nanonap.base.errors import UsageError
from nanonap.lab.ab.errors import MetricMissing

#: As loads write them: 12, 1,234.5, 1e-3, 250us, 1.2 ms.
_NUMBER = re.compile(
    r"\s*([-+]?[0-9][0-9,_]*\.?[0-9]*(?:e[-+]?[0-9]+)?|[-+]?\.[0-9]+)\s*(ns|us|µs|μs|ms|s)?\b.*", re.I | re.S
)
_SCALES = {unit: float(scale) for unit, scale in UNITS} | {"us": 1e3, "μs": 1e3}
_TOLD = 200


@dataclass(frozen=True)
class Metric:
    """A figure of the load: by a pattern (its first group, or all of it; the last match counts) or a JSON path."""

    name: str
    pattern: re.Pattern[str] | None
    path: tuple[str, ...] = ()

    def find(self, stdout: str, stderr: str) -> tuple[float, bool]:
        """(the value, whether it is a time, then in ns). Raises MetricMissing."""
        text = self._by_pattern(stdout, stderr) if self.pattern else self._by_path(stdout)
        value = _NUMBER.fullmatch(text)
        if value is None or not math.isfinite(float(number := value[1].replace(",", "").replace("_", ""))):
            raise MetricMissing(f"metric {self.name}: {text[:_TOLD]!r} is no number")
        unit = (value[2] or "").lower()
        return float(number) * _SCALES.get(unit, 1.0), bool(unit)

    def _by_pattern(self, stdout: str, stderr: str) -> str:
        for text in (stdout, stderr):
            last = deque(self.pattern.finditer(text) if self.pattern else (), maxlen=1)
            if last:
                return last[0][1 if last[0].re.groups else 0] or ""
        raise MetricMissing(f"metric {self.name}: its pattern is not in the load's output: {_end(stdout, stderr)}")

    def _by_path(self, stdout: str) -> str:
        place: Any = _document(stdout)
        for number, step in enumerate(self.path):
            try:
                place = place[int(step)] if isinstance(place, list) else place[step]
            except (KeyError, IndexError, TypeError, ValueError):
                where = ".".join(self.path[: number + 1])
                raise MetricMissing(
                    f"metric {self.name}: the load's JSON has no {where}; its output: {_end(stdout, '')}"
                ) from None
        return "" if isinstance(place, bool | dict | list | None) else str(place)


def _document(stdout: str) -> Any:  # noqa: ANN401 - JSON of somebody else's
    """All that was written, or its last line."""
    for text in (stdout, stdout.strip().rpartition("\n")[2]):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    return None


def _end(stdout: str, stderr: str) -> str:
    return repr(" ".join((stdout.strip() or stderr.strip()).split())[-_TOLD:])


def parse_metrics(texts: Sequence[str]) -> list[Metric]:
    """``NAME=REGEX`` or ``NAME=json:PATH`` each, PATH as in latency.p99 or runs.0.mean. Raises UsageError."""
    found: dict[str, Metric] = {}
    for text in texts:
        name, equals, what = text.partition("=")
        if not (name.strip() and equals and what) or name in found:
            raise UsageError(f"--metric {text}: write NAME=REGEX or NAME=json:PATH, each name once")
        if what.startswith("json:"):
            found[name] = Metric(name, None, tuple(what.removeprefix("json:").split(".")))
            continue
        try:
            found[name] = Metric(name, re.compile(what, re.M))
        except re.error as error:
            raise UsageError(f"--metric {text}: not a regular expression ({error})") from error
    return list(found.values())


def read_metrics(metrics: Sequence[Metric], stdout: str, stderr: str) -> tuple[dict[str, float], set[str]]:
    """(every metric's value, the names of those that are times). Raises MetricMissing."""
    values = {each.name: each.find(stdout, stderr) for each in metrics}
    return {name: value for name, (value, _) in values.items()}, {name for name, (_, time) in values.items() if time}
