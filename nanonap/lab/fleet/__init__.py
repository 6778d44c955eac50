"""Many machines, on Dask: its scheduler is the queue, its workers measure, one at a time, as one machine does."""
