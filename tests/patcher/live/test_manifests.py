"""The Kubernetes manifests of docs/live.md have the fields that were once checked with Kubernetes' schema, no others.

Where this test must change, check them again: the schema's reader is no dependency of this project's.
"""

import re
from collections.abc import Iterator

from nanonap.base.paths import PROJECT

CONTEXT = ["securityContext", "securityContext.runAsUser", "securityContext.capabilities"]
POD = "spec.template.spec."
WANTED = [
    [*CONTEXT, "securityContext.capabilities.add"],
    [
        "apiVersion", "kind", "metadata", "metadata.name", "spec", "spec.selector", "spec.selector.matchLabels",
        "spec.template", "spec.template.metadata", "spec.template.metadata.labels", "spec.template.spec",
        f"{POD}hostPID", f"{POD}containers", f"{POD}containers.name", f"{POD}containers.image",
        f"{POD}containers.command", f"{POD}containers.securityContext", f"{POD}containers.securityContext.privileged",
    ],
]  # fmt: skip


def fields(manifest: str) -> Iterator[str]:
    """The path of every key that has a line, in order; that of a list's item lies in the list's."""
    above: list[tuple[int, str]] = []
    for line in manifest.splitlines():
        if found := re.match(r"([ -]*)(\w+):", line):
            depth = len(found[1])
            above = [each for each in above if each[0] < depth] + [(depth, found[2])]
            yield ".".join(name for _, name in above)


def test_their_fields_are_those_that_were_checked() -> None:
    text = (PROJECT / "docs" / "live.md").read_text(encoding="utf-8")
    assert [list(fields(each)) for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)] == WANTED
    assert 'add: ["SYS_PTRACE", "SYS_NICE"]' in text
