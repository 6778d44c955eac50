"""The experiment ``engines``; see ``experiment.py``."""
