"""An edit, the room there is for one, and code laid into several runs of bytes."""
