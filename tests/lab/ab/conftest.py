"""A service that sleeps before it answers, and its load: what an A/B is of."""

import shlex
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from nanonap.lab.ab.main import Asked
from tests.conftest import BuildProgram

LOAD = Path(__file__).with_name("load.py")
METRICS = (r"median=median (\S+)", "asked=json:asked.times", "least=json:least_ns.0")
METRICS_NAMED = ("median", "asked", "least")


@dataclass(frozen=True)
class Answerer:
    """The program, and a port that is free."""

    path: Path
    port: int

    def load(self, *words: str, times: int = 20) -> str:
        return shlex.join([sys.executable, str(LOAD), str(self.port), str(times), *words])

    def asked(self, **others: object) -> Asked:
        """An A/B of files; by default of stock with stock, for which nothing is patched."""
        options = {
            "binary": self.path,
            "run": f"{{binary}} localhost:{self.port} 100us",
            "load": self.load(),
            "ready": f"tcp:{self.port}",
            "arms": "control",
            "runs": 3,
            "seed": 1,
        }
        return Asked(**(options | others))  # type: ignore[arg-type]


@pytest.fixture
def answerer(build_program: BuildProgram) -> Answerer:
    return Answerer(build_program("answerer"), free_port())


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("localhost", 0))
        port: int = bound.getsockname()[1]
        return port
