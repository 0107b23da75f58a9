"""The reference pages, generated from the code: `make reference` writes docs/reference/ and docs/adr/index.md.

A setting, command, endpoint, metric, topic, reason, error or asset is documented where it is defined; here is only the
layout. `tests/docs/test_reference.py` fails when a page is out of date.
"""
