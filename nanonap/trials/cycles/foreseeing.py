"""Every state that a process's code can come to, by whole changes and by halves of one, and the scripts out of each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nanonap.trials.cycles.plans import Plans
from nanonap.trials.cycles.subject import ACTIONS
from patcher.golang.image import read_image
from patcher.isolation import isolated
from patcher.live.script import Script, Spans, Write
from patcher.wait import PRECISE

_State = tuple[bytes, ...]  # what memory holds in each span


def foreseen(path: Path, machine: str) -> Plans:
    """All of a program that runs on a machine of this kind, as uname(2) names it. Raises as the planner."""
    asked = isolated(path, "patcher.live.planner:spans", Spans, machine=machine)
    plans = Plans(asked.entry, list(asked.spans))
    todo, known = [stock := _stock(path, plans)], {stock}
    while todo:
        state = todo.pop()
        for action in ACTIONS:
            script = isolated(
                path,
                "patcher.live.planner:planned",
                Script,
                machine=machine,
                memory=[(at, data.hex()) for (at, _), data in zip(plans.spans, state, strict=True)],
                action=action,
                wait=PRECISE.to_json() if action == ACTIONS[0] else None,
            )
            plans.scripts.append((action, b"".join(state), script))
            new = dict.fromkeys(_behind(plans, state, [each for site in script.sites for each in site.writes]))
            todo += [each for each in new if each not in known]
            known |= set(new)
    return plans


def _stock(path: Path, plans: Plans) -> _State:
    """The file's bytes; behind the code there are none, and memory holds zeros."""
    image = read_image(path)
    free = image.padding.address if image.padding else None
    return tuple(bytes(size) if free is not None and at >= free else image.read(at, size) for at, size in plans.spans)


def _behind(plans: Plans, state: _State, writes: Sequence[Write]) -> Iterator[_State]:
    """Memory behind each write, as whoever is killed there leaves it."""
    memory = [bytearray(each) for each in state]
    for write in writes:
        for (at, size), data in zip(plans.spans, memory, strict=True):
            if at <= write.address < at + size:
                data[write.address - at : write.address - at + len(write.new)] = write.new
        yield tuple(map(bytes, memory))
