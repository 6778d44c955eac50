"""The measuring side: arms are files to run; how they came to be is not known here."""
