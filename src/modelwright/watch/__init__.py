"""Rows + reference -> findings -> alerts. A finding is a diagnosis in words, never a bare distance."""
