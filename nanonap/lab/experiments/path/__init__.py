"""The experiment ``path``; see ``experiment.py``."""
