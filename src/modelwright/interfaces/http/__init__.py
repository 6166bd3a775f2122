"""The data plane over HTTP/1.1: Open Inference Protocol v2 REST, ground truth, health and metrics.

Bytes in, bytes out: this package translates and keeps limits; what is predicted is decided in ``serve``.
"""
