"""A page of one processor's results, which keeps a section for each other one's."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Sections:
    """Those of the page that ``invoke NAME --markdown`` writes; ``old`` is the page as it was, "" for none."""

    name: str
    old: str

    def below(self, page: str) -> str:
        """A new page, with the sections of the old one."""
        return page + "".join(self._found().values())

    def with_one(self, arch: str, text: str) -> str:
        """The old page with this text as a processor's section."""
        found = self._found()
        mark = f"<!-- {self.name} {arch}:"
        written = f"written by `invoke {self.name} --arch {arch} --markdown` -->"
        found[arch] = f"\n{mark} {written}\n{text}{mark} end -->\n"
        return self._mark.sub("", self.old) + "".join(found.values())

    def _found(self) -> dict[str, str]:
        return {match[1]: match[0] for match in self._mark.finditer(self.old)}

    @property
    def _mark(self) -> re.Pattern[str]:
        own = rf"<!-- {self.name} (\w+): written by .*? -->\n.*?<!-- {self.name} \1: end -->"
        return re.compile(rf"\n{own}\n", re.DOTALL)
