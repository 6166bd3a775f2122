"""Request -> prediction: check against the signature, route, run, record. Values in, values out; no sockets."""

from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.plane import Plane

__all__ = ["Answer", "Plane", "PredictCall"]
