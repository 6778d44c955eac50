"""docs/claims.md and the README's list, from answers alone."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, select_autoescape

from bench.claims.answers import OPEN, UNKNOWN, Answer, Answered, where
from bench.claims.rows import CAPTIONS

BEGIN, END = "<!-- claims: written by `invoke claims` -->", "<!-- claims: end -->"
_TITLES: dict[Answered, str] = {
    "refuted": "Refuted",
    "holds in part": "Holds in part",
    "holds": "Holds",
    OPEN: "Not settled, or not to be tested on the machines that the data are of",
    UNKNOWN: "Not recorded yet",
}


def as_markdown(answers: Sequence[Answer], folder: str) -> str:
    """The page. ``folder`` is where the records lie, as seen from the page."""
    environment = Environment(
        loader=PackageLoader("bench", "templates"),
        autoescape=select_autoescape(),  # of HTML: Markdown stays as it is
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    records = {record.source.name: record for each in answers for record, _ in each.found}
    return environment.get_template("claims.md.jinja").render(
        answers=answers, counts=_counts(answers), captions=CAPTIONS, where=where, folder=folder, records=records
    )


def as_list(answers: Sequence[Answer], page: str) -> str:
    """The headline verdicts, for the README: a line an outcome."""
    lines = [f"{len(answers)} published claims, each with its experiment, in [the table of claims]({page}):", ""]
    for outcome, members in _counts(answers).items():
        clauses = "; ".join(f"{each.row.short} ({each.row.claim})" for each in members)
        lines.append(f"- **{_TITLES[outcome]}** ({len(members)}): {clauses}.")
    return "\n".join(lines) + "\n"


def with_list(text: str, block: str) -> str:
    """``text`` with what lies between the two marks replaced; as it is where there are none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{block}{END}{after}" if begin and end else text


def _counts(answers: Sequence[Answer]) -> dict[Answered, list[Answer]]:
    by_outcome = {outcome: [each for each in answers if each.outcome == outcome] for outcome in _TITLES}
    return {outcome: members for outcome, members in by_outcome.items() if members}
