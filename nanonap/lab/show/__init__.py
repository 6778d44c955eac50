"""Results as people see them: tables, plots, the page, the terminal, other formats."""
