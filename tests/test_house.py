"""The house: each room imports only rooms below it, and there is no circle."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

from nanonap.base.paths import PROJECT

#: From the ground up. A room may import itself and those before it.
ORDER = """
nanonap nanonap.base
patcher.errors patcher.answers patcher.child patcher.begun patcher.watched patcher.isolation
patcher.file patcher.isa patcher.golang patcher.edit patcher.wait patcher.proof patcher.strategies
patcher.proving patcher.source patcher.manifest patcher.record patcher.rewrite patcher.recognise patcher.planning
patcher.probing patcher.patching patcher.inspection patcher.undoing patcher.show patcher.live patcher.images patcher
nanonap.toolchain
nanonap.lab.ground nanonap.lab.quota nanonap.lab.guest nanonap.lab.plan nanonap.lab.attribution nanonap.lab.advise
nanonap.lab.run nanonap.lab.store nanonap.lab.stats nanonap.lab.model nanonap.lab.judge nanonap.lab.show nanonap.lab.ab
nanonap.lab nanonap.lab.publish nanonap.lab.fleet nanonap.lab.experiments nanonap.lab.claims
nanonap.trials nanonap.cli
""".split()  # noqa: SIM905 - a short list, not forty lines
MOST_LINES = 300
# Of x86-64 and AArch64 at any width, in code, comments and texts; by their families, in quotes.
REGISTERS = re.compile(
    r"\b(?:[re](?:[abcd]x|[sd]i|[bs]p|ip|flags)|r(?:8|9|1[0-5])[dwb]?|[xyz]mm\d+)\b"
    r"|\b[fg]s\b(?!/)|\"(?:[abcd]|[sd]i|[bs]p)\"|x86_const"
    r"|(?<!\\)\b[xw](?:[12]?\d|30|zr)\b|\[sp\b|arm64_const"
)
NAME_REGISTERS = re.compile(r"isa/(?:amd|arm)64/|strategies/\w+/(?:amd|arm)64\w*\.py$")


def modules() -> dict[str, Path]:
    found = {}
    for package in ("nanonap", "patcher"):
        for path in (PROJECT / package).rglob("*.py"):
            dotted = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
            found[dotted.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(module: str) -> Iterator[str]:
    """The modules of the house that a module imports, within functions too."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names = [f"{node.module}.{each.name}" for each in node.names]
        for name in names:
            target = name if name in MODULES else name.rpartition(".")[0]
            if target in MODULES and target != module:
                yield target


def room(module: str) -> int:
    """The place of the innermost room in the order."""
    inside = [each for each in ORDER if module == each or module.startswith(f"{each}.")]
    assert inside, f"{module} is in no room of the order"
    return ORDER.index(max(inside, key=len))


def test_no_import_goes_up() -> None:
    upward = [f"{each} → {target}" for each in MODULES for target in imports(each) if room(target) > room(each)]
    assert upward == []


def test_there_is_no_circle() -> None:
    graph = {each: set(imports(each)) for each in MODULES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(MODULES)


def test_the_list_names_rooms_that_are_there_once_each() -> None:
    assert [each for each in ORDER if each not in MODULES] == []
    assert len(set(ORDER)) == len(ORDER)


def test_no_file_is_too_long_to_read() -> None:
    files = [*MODULES.values(), *(PROJECT / "tests").rglob("*.py")]
    assert {str(each): n for each in files if (n := len(each.read_text("utf-8").splitlines())) > MOST_LINES} == {}


def test_registers_are_named_where_an_instruction_set_is_known_and_nowhere_else() -> None:
    """All else speaks of their roles (patcher/isa/isa.py)."""
    files = [each for each in (PROJECT / "patcher").rglob("*.py") if not NAME_REGISTERS.search(each.as_posix())]
    named = [
        f"{each.relative_to(PROJECT)}:{number}: {line.strip()}"
        for each in files
        for number, line in enumerate(each.read_text("utf-8").splitlines(), 1)
        if REGISTERS.search(line)
    ]
    assert named == []
    shown = ("at [rsp]", "eax", "r8", "r14d", "xmm15", "fs:[-8]", "x18", "wzr", "[sp+8]", 'flow.constants(at, "si")')
    assert all(map(REGISTERS.search, shown))


def test_what_an_instruction_set_needs_is_told() -> None:
    """Each file that both have, in the section of CONTRIBUTING.md for whoever adds a third."""
    told = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## A new instruction set")[2]
    told = told.partition("\n## ")[0]
    own: list[set[str]] = []
    for name in ("amd64", "arm64"):
        found = (path.relative_to(PROJECT / "patcher").as_posix() for path in (PROJECT / "patcher").rglob("*.py"))
        own.append({each.replace(name, "NAME") for each in found if name in each})
    both, one = own[0] & own[1], own[0] ^ own[1]
    assert {each for each in both if each.rpartition("/")[2] not in told} == {"isa/NAME/__init__.py"}
    assert {each for each in one if each.replace("NAME", "amd64").rpartition("/")[2] not in told} == {
        "strategies/sleep/NAME.py", "strategies/usleep/NAME.py",
    }  # fmt: skip
