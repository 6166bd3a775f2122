"""Environments of native models: built from a package's lock, cached, and used in place of the server's own."""
