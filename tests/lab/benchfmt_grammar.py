"""The Go benchmark format as its specification has it (golang.org/design/14313-benchmark-format), for a test to read.

Unit lines: golang.org/issue/43744. Every line must be one of the known kinds: benchstat passes over others in silence.
"""

from dataclasses import dataclass, field


@dataclass
class Parsed:
    """``results``: (name without its -N, parts of the name, N, unit → value) in the order of the lines."""

    configuration: dict[str, str] = field(default_factory=dict)
    units: dict[str, dict[str, str]] = field(default_factory=dict)
    results: list[tuple[str, dict[str, str], int | None, dict[str, float]]] = field(default_factory=list)


def parse(text: str) -> Parsed:
    """Raises ValueError for a line that the format does not know."""
    parsed = Parsed()
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        words = line.split()
        if line.startswith("Benchmark"):
            parsed.results.append(_result(words))
        elif words and words[0] == "Unit":
            parsed.units[words[1]] = dict(_pair(word) for word in words[2:])
        else:
            key, colon, value = line.partition(":")
            if not colon or not key[:1].islower() or any(each.isspace() or each.isupper() for each in key):
                raise ValueError(f"no line of the format: {line!r}")
            if value[:1] not in (" ", "\t"):
                raise ValueError(f"no space after the key: {line!r}")
            parsed.configuration[key] = value.strip()
    return parsed


def _result(words: list[str]) -> tuple[str, dict[str, str], int | None, dict[str, float]]:
    if len(words) < 4 or len(words) % 2:
        raise ValueError(f"a result has a name, iterations, and pairs of value and unit: {words}")
    name, iterations, *pairs = words
    if not name[len("Benchmark") :][:1].isupper() or int(iterations) < 1:
        raise ValueError(f"not a name and iterations: {name} {iterations}")
    bare, dash, processors = name.rpartition("-")
    known = int(processors) if dash and processors.isdecimal() else None
    bare = bare if known is not None else name
    parts = dict(_pair(part) for part in bare.split("/")[1:])
    values = {unit: float(value) for value, unit in zip(pairs[::2], pairs[1::2], strict=True)}
    if len(values) != len(pairs) // 2:
        raise ValueError(f"a unit twice: {words}")
    return bare, parts, known, values


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"not key=value: {text!r}")
    return key, value
