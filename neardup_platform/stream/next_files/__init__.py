"""Making the derived files of the store that replaces the active one, in a process beside the worker."""
