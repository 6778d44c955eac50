"""Quotas and periods written to a real group's files. Standard library and the project's own that do with it."""

from nanonap.lab.experiments.kit.cgroup_files import folder_of, prepared, read_quota, refusal_of, write_quota
from nanonap.lab.quota.limits import Limits, parse_quota

# With a quota from the start: without one, systemd gives a group no file to write it to.
_BEFORE = Limits(parse_quota("50%"))


def tried(backend: str, pairs: list[tuple[str, int]]) -> list[tuple[str, int, bool, str, str]]:
    """For each (quota in µs or a word, period in µs): the two, accepted or not, errno or "", what is read back or "".

    A new group for each. Raises QuotaUnavailable.
    """
    rows = []
    with prepared(backend) as ready:
        for quota, period_us in pairs:
            with ready.open(_BEFORE) as group:
                folder = folder_of(group, backend)
                refusal, read = "", ""
                try:
                    write_quota(folder, quota, period_us)
                except OSError as error:
                    refusal = refusal_of(error)
                else:
                    read = read_quota(folder)
            rows.append((quota, period_us, not refusal, refusal, read))
    return rows
