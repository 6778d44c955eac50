"""A folder per experiment: its question, what it runs, and a verdict that is computed from its data alone."""
