"""The front door: what `invoke --list` shows. The tasks themselves are in doors/, one file a side."""

from doors.measuring import bench, bundle, claims, compare, experiment, predict, quota, report
from doors.patching import build, inspect, patch, revert, verify
from doors.trying import bench_patcher, corpus, fuzz, lint, matrix, test
from nanonap.usage import give_parse_errors_the_usage_status

give_parse_errors_the_usage_status()

__all__ = [
    "bench",
    "bench_patcher",
    "build",
    "bundle",
    "claims",
    "compare",
    "corpus",
    "experiment",
    "fuzz",
    "inspect",
    "lint",
    "matrix",
    "patch",
    "predict",
    "quota",
    "report",
    "revert",
    "test",
    "verify",
]
