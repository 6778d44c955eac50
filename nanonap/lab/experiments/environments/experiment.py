"""How long /bin/sleep takes in several CPU limits, quiet and beside a busy process in the same group."""

from collections.abc import Iterator

import polars as pl

from nanonap.lab.experiments.environments import verdicts
from nanonap.lab.experiments.environments.verdicts import BURST, FAKE_BURST, LIMITED, LIMITED_BY, NONE
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.counted import COUNTERS
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.limits import Limits, parse_quota

SCHEMA = {
    "environment": pl.String,
    "load": pl.String,  # quiet, busy
    "block": pl.Int64,
    "requested_ns": pl.Int64,
    "elapsed_ns": pl.Int64,
    "nr_periods": pl.Int64,  # of the group, over all of its sleeps
    "nr_throttled": pl.Int64,
    "throttled_ns": pl.Int64,
    "missing": pl.String,
}
_PROBE = "nanonap.lab.experiments.environments.probe"
_QUIET, _BUSY = "quiet", "busy"
_OTHER = {
    1: "here the cpu controller is in a cgroup v1 hierarchy; --backend guest has v2",
    2: "here the cpu controller is in cgroup v2; a machine with a v1 hierarchy of it has this, by --backend cgroup1",
}


class Environments(Experiment):
    """Claim E3."""

    name = "environments"
    question = "Does a quota of 50 % of a CPU make `sleep` late, and does burst prevent it?"
    expects = (
        "quiet, all environments are alike: `sleep` needs a millisecond of CPU time to start and none to sleep. Beside "
        "a busy process it starts or ends in a stall half of the time, and is late by up to 50 ms for each; burst "
        "changes nothing there, since a busy group has nothing left over. `max 100000` is no burst but no limit at all"
    )
    shown = (verdicts.table,)

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Quiet groups side by side, busy ones one after the other."""
        # Fifty-six sleeps of each environment in the full form: eight groups of seven.
        seconds, sleeps, blocks = (0.2, 3, 3) if setting.quick else (5.0, 7, 8)
        version = int(setting.call_beside_groups(f"{_PROBE}:version", 60))
        here, elsewhere = LIMITED_BY[version], LIMITED_BY[3 - version]
        quotas = {NONE: "none", here: LIMITED, FAKE_BURST: "max", BURST: f"{LIMITED}+burst=50ms"}
        missing = {elsewhere: _OTHER[version]}
        if refusal := _refusal(setting, quotas[BURST]):
            missing[BURST] = refusal
            del quotas[BURST]
        for environment, reason in missing.items():
            yield {"environment": environment, "requested_ns": int(seconds * 1e9), "missing": reason}
        for block in range(blocks):
            setting.say(f"block {block + 1} of {blocks}, quiet")
            yield from _block(setting, quotas, _QUIET, block, seconds, sleeps)
            names = list(quotas)
            for name in names[block % len(names) :] + names[: block % len(names)]:
                setting.say(f"block {block + 1} of {blocks}, busy, {name}")
                yield from _block(setting, {name: quotas[name]}, _BUSY, block, seconds, sleeps)

    judge = staticmethod(verdicts.verdicts)
    draw = staticmethod(verdicts.picture)


def _refusal(setting: Setting, quota: str) -> str | None:
    try:
        setting.backend.open(Limits(parse_quota(quota))).close()
    except QuotaUnavailable as refusal:
        return f"{refusal.reason}; {refusal.remedy}"
    return None


def _block(
    setting: Setting, quotas: dict[str, str], load: str, block: int, seconds: float, sleeps: int
) -> Iterator[Row]:
    options = {"quotas": quotas, "burners": int(load == _BUSY), "seconds": seconds, "sleeps": sleeps, "seed": block}
    found = setting.call_beside_groups(f"{_PROBE}:timed", 60 + 10 * seconds, **options)
    for environment, each in found.items():
        counted = {name: each[name] for name in COUNTERS}
        head = {"environment": environment, "load": load, "block": block, "requested_ns": int(seconds * 1e9)}
        yield from ({**head, "elapsed_ns": elapsed_ns, **counted} for elapsed_ns in each["elapsed_ns"])
