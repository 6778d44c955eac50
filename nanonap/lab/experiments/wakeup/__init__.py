"""The experiment ``wakeup``; see ``experiment.py``."""
