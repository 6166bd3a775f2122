"""Findings + policy -> ``Order``.

The stage's one rule: it decides and never trains here; the same window orders at most once.
"""
