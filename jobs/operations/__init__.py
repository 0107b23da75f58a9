"""The jobs for operators: one for each operation of the command line, all made by `operation_job.py`."""
