"""The experiment ``foretold``; see ``experiment.py``."""
