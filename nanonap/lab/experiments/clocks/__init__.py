"""The experiment ``clocks``; see ``experiment.py``."""
