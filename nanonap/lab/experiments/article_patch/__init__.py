"""The experiment ``article-patch``; see ``experiment.py``."""
