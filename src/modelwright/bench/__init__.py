"""A server under load -> what it can do, and what limits it. It asks over the network alone and imports no stage."""
