"""What the worker can be told to do on the control topic: a file for each command, and what only they use."""
