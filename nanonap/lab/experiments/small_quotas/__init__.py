"""The experiment ``small-quotas``; see ``experiment.py``."""
