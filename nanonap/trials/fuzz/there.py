"""A campaign's blocks on the workers of a fleet: judged as here, by processes that have read the undamaged programs."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache

from nanonap.lab.fleet.client import Fleet
from nanonap.lab.fleet.spread import MOST_DEATHS, spread
from nanonap.toolchain.targets import TARGETS
from nanonap.trials.fuzz.campaign import FINDINGS, IMAGE, Campaign, Judged, arms, bases, keep_finding, mutant_of
from nanonap.trials.fuzz.judge import Verdict
from nanonap.trials.fuzz.readers import get_ready
from nanonap.trials.fuzz.tally import Finding, Tally
from patcher import isolation

_OUTCOME = "the worker died"


@dataclass(frozen=True)
class Block:
    """Work for a worker's hand: a block, or of one that killed hands a single mutant."""

    campaign: Campaign

    def __call__(self, numbers: range) -> Tally:
        """Its tally."""
        _ready(self.campaign.target.name)
        return self.campaign(numbers)


@cache
def _ready(arch: str) -> None:
    """Once in each hand, whose other thread only listens: so it may fork."""
    isolation.forks_beside_threads = True
    get_ready((each.path for each in bases(arch)), arms(TARGETS[arch]))


def judged_there(fleet: Fleet, campaign: Campaign, blocks: Sequence[range]) -> Generator[Tally, None, None]:
    """The blocks' tallies, as they come. A mutant of which three workers died is a finding. Findings are kept here.

    Raises as ``spread``.
    """
    deadly: list[range] = []
    for numbers, done in spread(fleet, Block(campaign), blocks):
        if done.died:
            deadly.append(numbers)
        else:
            yield kept_here(campaign, done.result)
    for numbers in deadly:
        tally = Tally()
        for (number,), done in spread(fleet, Block(campaign), [range(each, each + 1) for each in numbers]):
            tally.add(died(campaign, number) if done.died else done.result)
        yield kept_here(campaign, tally)


def died(campaign: Campaign, number: int) -> Tally:
    """Of a mutant that workers died of."""
    if campaign.images:
        base, kind, arm = IMAGE, IMAGE, "netpoll"
    else:
        damaged, mutant, arm = mutant_of(number, campaign.seed, campaign.target)
        base, kind = damaged.name, mutant.kind
    said = f"each of {MOST_DEATHS} workers died of it"
    finding = Finding(number, base, kind, arm, _OUTCOME, said)
    return Tally(read=1, readings={kind: {_OUTCOME: 1}}, findings=[finding], spans=[(number, number + 1)])


def kept_here(campaign: Campaign, tally: Tally) -> Tally:
    """Make the files of findings here again: a number stands for a file."""
    for each in tally.findings if not campaign.images else ():
        base, mutant, _ = mutant_of(each.number, campaign.seed, campaign.target)
        verdict = Verdict(each.outcome, each.finding, 0, 0)
        judged = Judged(each.number, each.base, each.kind, each.arm, verdict)
        keep_finding(judged, base, mutant, campaign.seed, FINDINGS, campaign.target)
    return tally
