"""The published claims (rows.toml): in our words, with what answers each and why it comes out so."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanonap.lab.claims.data import HOST, Source


@dataclass(frozen=True)
class Row:
    """A claim. ``decided_by`` names the verdicts that decide it; others of the same claim stand beside them.

    ``short`` is a clause for a list, ``says`` the claim as published, ``why`` the mechanism with its sources,
    ``picture`` the name of the source whose picture is shown, or empty.
    """

    claim: str
    short: str
    says: str
    why: str
    sources: tuple[Source, ...]
    decided_by: tuple[str, ...]
    picture: str

    def decides(self, claim: str) -> bool:
        """Whether a verdict of this name decides the claim."""
        return claim in self.decided_by

    def is_about(self, claim: str) -> bool:
        """Whether a verdict of this name is of the claim: ``D1``, ``D1 go run``."""
        return claim.partition(" ")[0] == self.claim


def _row(entry: Mapping[str, Any]) -> Row:
    named = [word.partition("@") for word in entry["sources"]]
    return Row(
        claim=entry["claim"],
        short=entry["short"],
        says=_joined(entry["says"]),
        why=_joined(entry["why"]),
        sources=tuple(Source(experiment, backend or HOST) for experiment, _, backend in named),
        decided_by=tuple(entry.get("decided_by", [entry["claim"]])),
        picture=entry.get("picture", ""),
    )


def _joined(text: str) -> str:
    return " ".join(text.split())


_FILE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
ROWS: tuple[Row, ...] = tuple(_row(entry) for entry in _FILE["claim"])
SOURCES: tuple[Source, ...] = tuple(dict.fromkeys(source for row in ROWS for source in row.sources))
CAPTIONS: Mapping[str, str] = _FILE["captions"]
"""What a source's picture shows, by the source's name."""
