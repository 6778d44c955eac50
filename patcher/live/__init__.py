"""The same edits in a running process: put in and taken out while it runs, without harm."""
