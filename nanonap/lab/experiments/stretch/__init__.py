"""The experiment ``stretch``; see ``experiment.py``."""
