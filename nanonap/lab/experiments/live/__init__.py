"""The experiment ``live``; see ``experiment.py``."""
