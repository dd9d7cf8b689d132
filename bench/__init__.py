"""Measures logserv beside the standard library and beside its peers, on one machine and in one run: docs/benchmarks.md.

`run.py` is the command; what is measured stands in `plan.py`, with whom in `contenders.py`, the records in `workloads.py`.
"""
