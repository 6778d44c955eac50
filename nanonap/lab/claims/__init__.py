"""The table of claims: what is published about Go's sleeps and quotas, and what the experiments' data say to it."""
