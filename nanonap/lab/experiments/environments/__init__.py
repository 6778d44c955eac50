"""The experiment ``environments``; see ``experiment.py``."""
