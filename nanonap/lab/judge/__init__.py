"""What the numbers say: summaries, verdicts, warnings, comparisons."""
