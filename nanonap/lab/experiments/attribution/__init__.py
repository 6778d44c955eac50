"""The experiment ``attribution``; see ``experiment.py``."""
