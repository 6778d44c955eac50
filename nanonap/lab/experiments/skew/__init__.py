"""The experiment ``skew``; see ``experiment.py``."""
