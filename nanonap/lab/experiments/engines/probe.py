"""What a backend can set, tried. Standard library and the project's own that do with it."""

from typing import Any

from nanonap.lab.experiments.engines.article import in_its_words
from nanonap.lab.experiments.kit.cgroup_files import folder_of, is_v2, prepared, read_quota
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.base import Group
from nanonap.lab.quota.limits import Limits, parse_quota

#: What is tried beyond a quota: ability → limits.
ASKED = {
    "quota": Limits(parse_quota("50%")),
    "period": Limits(parse_quota("20%/10ms")),
    "burst": Limits(parse_quota("50%+burst=10ms")),
    "weight": Limits(weight=200),
    "memory": Limits(memory_bytes=64 << 20),
}
CHANGED = "a live group's quota"
_FIRST, _SECOND = parse_quota("50%"), parse_quota("25%")
_AFTER = f"{(_SECOND.quota_ns or 0) // 1_000} {_SECOND.period_ns // 1_000}"


def tried(backend: str) -> list[dict[str, Any]]:
    """A row for each ability: {"ability", "asked", "read_back", "version", "driver", "accepted", "reason", "remedy"}.

    Raises QuotaUnavailable if the backend does not work at all.
    """
    with prepared(backend) as ready:
        rows: list[dict[str, Any]] = []
        for ability, limits in ASKED.items():
            row = {"ability": ability, "asked": str(limits)}
            try:
                with ready.open(limits) as group:
                    rows.append({**row, **_seen(group, backend)})
            except QuotaUnavailable as refusal:
                rows.append({**row, "accepted": False, "reason": refusal.reason, "remedy": refusal.remedy})
        row = {"ability": CHANGED, "asked": f"{_FIRST}, then {_SECOND}"}
        try:
            with ready.open(Limits(_FIRST)) as group:
                before = _as_shown(group, backend)
                group.set_quota(_SECOND)
                after = _as_shown(group, backend)
                seen = {**_seen(group, backend), "read_back": f"{before}, then {after}"}
                rows.append({**row, **seen, "accepted": after == _AFTER})
        except (QuotaUnavailable, OSError) as refusal:
            reason = getattr(refusal, "reason", str(refusal))
            remedy = getattr(refusal, "remedy", "choose another --backend")
            rows.append({**row, "accepted": False, "reason": reason, "remedy": remedy})
        if any(row.get("version") == 2 for row in rows):
            rows += in_its_words(ready)
        driver = ready.driver
    return [{**row, "driver": driver} for row in rows]


def _seen(group: Group, backend: str) -> dict[str, Any]:
    """A group opens only if the kernel keeps what was asked for."""
    version = 2 if is_v2(folder_of(group, backend)) else 1
    return {"read_back": str(group.effective), "version": version, "accepted": True}


def _as_shown(group: Group, backend: str) -> str:
    return read_quota(folder_of(group, backend))
