"""The experiment ``bandwidth``; see ``experiment.py``."""
