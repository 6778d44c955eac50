"""Quantiles, resampling, cells, effects, costs: numbers of runs, no opinion."""
