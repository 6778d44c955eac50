"""Orders and phases that are drawn, and can be drawn again. Standard library only: guests draw too."""

import random


def seeded(seed: int | str) -> random.Random:
    """A generator that draws the same for the same seed, in every release of Python (``random``, "Reproducibility").

    Nothing that it draws is to be secret: what a measurement's order was is published with its seed.
    """
    return random.Random(seed)  # noqa: S311 - the rule is about secrets; this must be predictable
