"""Frozen values (the nouns), ledger events and error kinds. Standard library and NumPy only."""
