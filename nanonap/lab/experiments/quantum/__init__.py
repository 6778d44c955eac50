"""The experiment ``quantum``; see ``experiment.py``."""
