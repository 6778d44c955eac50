"""The experiment ``rival``; see ``experiment.py``."""
