"""The experiment ``minimum``; see ``experiment.py``."""
