"""Answered requests, ground truth -> rows. What is recorded is handed to the operating system before its answer leaves.

``writer`` is on the serving path and imports neither DuckDB nor the readers; ``compact`` and ``log`` read.
"""
