"""The experiment ``dilation``; see ``experiment.py``."""
