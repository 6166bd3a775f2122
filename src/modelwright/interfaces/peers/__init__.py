"""Requests of sequences, passed between the gateways of a server: each is answered where its sequence lives."""
