"""The experiment ``quota-limits``; see ``experiment.py``."""
