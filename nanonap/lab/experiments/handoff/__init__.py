"""The experiment ``handoff``; see ``experiment.py``."""
