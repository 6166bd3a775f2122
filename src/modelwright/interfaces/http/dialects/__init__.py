"""Contracts of other servers over the same plane: each module translates one and decides nothing."""
