"""docs/claims.md and the README's list, from answers alone."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader

from bench.claims.answers import OPEN, Answer, where
from bench.claims.rows import CAPTIONS
from bench.experiments.base import Outcome

BEGIN, END = "<!-- claims: written by `invoke claims` -->", "<!-- claims: end -->"
_OUTCOMES: tuple[Outcome, ...] = ("refuted", "holds in part", "holds", OPEN)
_TITLES = {
    "refuted": "Refuted",
    "holds in part": "Holds in part",
    "holds": "Holds",
    OPEN: "Not settled, or not to be tested on the machines that the data are of",
}


def as_markdown(answers: Sequence[Answer], folder: str = "claims") -> str:
    """The page. ``folder`` is where the records lie, as seen from the page."""
    # Markdown for a repository, not HTML for strangers: `<` and `&` stand as they are.
    environment = Environment(
        loader=PackageLoader("bench", "templates"), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("claims.md.jinja").render(
        answers=answers, counts=_counts(answers), titles=_TITLES, captions=CAPTIONS, where=where, folder=folder
    )


def as_list(answers: Sequence[Answer], page: str = "docs/claims.md") -> str:
    """The headline verdicts, for the README: a line an outcome."""
    lines = [
        f"{len(answers)} published claims on this matter, each with an experiment, in [the table of claims]({page}):"
    ]
    for outcome, members in _counts(answers).items():
        clauses = "; ".join(f"{each.row.short} ({each.row.claim})" for each in members)
        lines += ["", f"- **{_TITLES[outcome]}** ({len(members)}): {clauses}."]
    return "\n".join([lines[0], "", *[line for line in lines[1:] if line]]) + "\n"


def with_list(text: str, block: str) -> str:
    """``text`` with what lies between the two marks replaced; as it is where there are none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{block}{END}{after}" if begin and end else text


def _counts(answers: Sequence[Answer]) -> dict[Outcome, list[Answer]]:
    by_outcome = {outcome: [each for each in answers if each.outcome == outcome] for outcome in _OUTCOMES}
    return {outcome: members for outcome, members in by_outcome.items() if members}
