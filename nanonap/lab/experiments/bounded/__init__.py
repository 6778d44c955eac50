"""The experiment ``bounded``; see ``experiment.py``."""
