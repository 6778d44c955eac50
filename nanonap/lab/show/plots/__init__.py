"""The plots of a result: each from its cells, with a text that says what is seen."""
