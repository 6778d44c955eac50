"""Invalid options end in one line and status 2, the usage status, and nothing is written."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import nanonap
import patcher
from nanonap.base.errors import NanonapError
from tests.patcher.conftest import Invoke
from tests.patcher.test_bad_input import assert_refused

BAD_OPTIONS = {
    "a slack of zero": (("--slack-ns", "0"), "a timer slack of 0 ns: must be at least 1"),
    "a negative slack": (("--slack-ns", "-5"), "a timer slack of -5 ns: must be at least 1"),
    "a slack that is no number": (("--slack-ns", "fast"), "--slack-ns fast: not a whole number"),
    "a slack with a fraction": (("--slack-ns", "1.5"), "--slack-ns 1.5: not a whole number"),
    "a slack with a unit": (("--slack-ns", "1us"), "--slack-ns 1us: not a whole number"),
    "no slack": (("--slack-ns", ""), "--slack-ns is empty"),
    "a slack beyond the kernel's": (("--slack-ns", "9223372036854775808"), "at most"),
    "an unknown strategy": (("--strategy", "magic"), "choose one of netpoll, sleep, usleep, slack"),
    "a quantum of zero": (("--quantum", "0"), "a quantum of 0 ns: must be at least 1"),
    "a quantum that is too long": (
        ("--quantum", "4000000001"),
        "a quantum of 4000000001 ns: must be at least 1",
    ),
    "a quantum with a unit": (("--quantum", "500us"), "--quantum 500us: not a whole number"),
    "a negative margin": (("--spin", "-1"), "a time to spin of -1 ns: must be at least 1000"),
    "a margin shorter than a system call": (
        ("--spin", "999"),
        "a time to spin of 999 ns: must be at least 1000",
    ),
    "a margin that no instruction holds": (("--spin", "2147483648"), "at most 2147483647"),
    "a quantum and a margin": (("--quantum", "500000", "--spin", "40000"), "exclude each other"),
    "dense without a quantum": (("--dense", "30000"), "give the quantum, too"),
    "dense longer than the quantum": (("--quantum", "500", "--dense", "501"), "must be at most the quantum (500 ns)"),
    "dense of zero": (("--quantum", "500", "--dense", "0"), "a limit for dense waits of 0 ns: must be at least 1"),
    "a quantum for usleep": (("--strategy", "usleep", "--quantum", "500"), "only strategy netpoll has one, not usleep"),
    "a margin for slack": (
        ("--strategy", "slack", "--slack-ns", "1", "--spin", "500"),
        "a time to spin of 500 ns: only strategy netpoll has one, not slack",
    ),
    "strategy slack without one": (("--strategy", "slack"), "say how much, in ns, at least 1"),
}


@pytest.mark.parametrize("what", BAD_OPTIONS)
def test_an_option_that_cannot_be_meant_is_refused(invoke: Invoke, program: Path, what: str) -> None:
    options, said = BAD_OPTIONS[what]
    answer = invoke("patch", "--binary", program, "--out", program.with_name("out"), *options)
    assert_refused(answer, 2, said)
    assert "--" in answer.err
    assert list(program.parent.iterdir()) == [program]


@pytest.mark.parametrize(
    "words", [("patch", "--nosuch"), ("patch", "--binary"), ("inspect",), ("nosuch",)], ids=" ".join
)
def test_a_command_line_that_cannot_be_read_has_the_usage_status(invoke: Invoke, words: tuple[str, ...]) -> None:
    answer = invoke(*words)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err


@pytest.mark.long
def test_options_that_the_strategy_does_not_have_are_refused_for_all_that_was_built(invoke: Invoke) -> None:
    answer = invoke("patch", "--strategy", "sleep", "--spin", "40000")
    assert answer.status == 2
    said = "nanonap: a time to spin of 40000 ns: only strategy netpoll has one, not sleep (--spin)"
    assert answer.err.splitlines()[-1] == said


@pytest.mark.parametrize("options", [("--out", "out"), ("--slack-ns", "0"), ("--spin", "1"), ("--strategy", "nosuch")])
def test_what_cannot_be_meant_without_a_binary_is_refused_before_anything_is_built(
    invoke: Invoke, options: tuple[str, ...]
) -> None:
    answer = invoke("patch", *options)
    assert_refused(answer, 2, options[0])


def test_every_exit_status_belongs_to_one_error() -> None:
    """A class that only inherits its status means the same error in more detail."""
    for room in (nanonap, patcher):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    owners: dict[int, list[str]] = {}
    for each in subclasses(NanonapError):
        assert isinstance(each.exit_code, int), f"{each.__name__} has no exit status"
        assert 2 <= each.exit_code <= 130
        if "exit_code" in vars(each):
            owners.setdefault(each.exit_code, []).append(f"{each.__module__}.{each.__name__}")
    assert {status: names for status, names in owners.items() if len(names) > 1} == {}
    assert len(owners) > 30


def subclasses(error: type[NanonapError]) -> set[type[NanonapError]]:
    found = set(error.__subclasses__())
    return found.union(*map(subclasses, found))
