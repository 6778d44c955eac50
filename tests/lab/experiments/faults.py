"""Functions that fail in a process of their own."""

import time

from nanonap.lab.ground.errors import QuotaUnavailable


def refuse(backend: str) -> None:
    del backend
    raise QuotaUnavailable("some", "a reason", "a remedy")


def fail(backend: str) -> float:
    return len(backend) / 0


def hang(backend: str) -> None:
    del backend
    time.sleep(60)
