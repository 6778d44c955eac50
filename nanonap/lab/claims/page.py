"""docs/claims.md and the README's list, from answers alone."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, select_autoescape

from nanonap.base.terminal import COMMAND
from nanonap.lab.claims.answers import Answer, where
from nanonap.lab.claims.places import where_tried
from nanonap.lab.claims.rows import CAPTIONS
from nanonap.lab.experiments.kit.base import Outcome

BEGIN, END = "<!-- claims: written by `invoke claims` -->", "<!-- claims: end -->"
#: In the order in which they are listed.
_OUTCOMES: tuple[Outcome, ...] = ("refuted", "holds in part", "holds", "not settled", "cannot be tested here")


def as_markdown(answers: Sequence[Answer], folder: str) -> str:
    """The page. ``folder`` is where the data lie, as seen from the page."""
    environment = Environment(
        loader=PackageLoader("nanonap.lab.show", "templates"),
        autoescape=select_autoescape(),  # of HTML: Markdown stays as it is
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    by_name = {data.source.name: data for each in answers for data, _ in each.found}
    return environment.get_template("claims.md.jinja").render(
        answers=answers,
        counts=_counts(answers),
        captions=CAPTIONS,
        where=where,
        folder=folder,
        by_name=by_name,
        tried=where_tried(answers),
        command=COMMAND,
    )


def as_list(answers: Sequence[Answer], page: str) -> str:
    """The headline verdicts, for the README: one line per outcome."""
    lines = [f"{len(answers)} published claims, each with its experiment, in [the table of claims]({page}):", ""]
    for outcome, members in _counts(answers).items():
        clauses = "; ".join(f"{each.row.short} ({each.row.claim})" for each in members)
        lines.append(f"- **{outcome.capitalize()}** ({len(members)}): {clauses}.")
    return "\n".join(lines) + "\n"


def with_list(text: str, block: str) -> str:
    """``text`` with what lies between the two marks replaced; as it is where there are none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{block}{END}{after}" if begin and end else text


def _counts(answers: Sequence[Answer]) -> dict[Outcome, list[Answer]]:
    by_outcome = {outcome: [each for each in answers if each.outcome == outcome] for outcome in _OUTCOMES}
    return {outcome: members for outcome, members in by_outcome.items() if members}
