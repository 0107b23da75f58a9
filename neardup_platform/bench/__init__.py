"""Benchmarks: real servers, real processes, one JSON object each."""
