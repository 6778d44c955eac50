"""The experiment ``polling``; see ``experiment.py``."""
