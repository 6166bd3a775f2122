"""The Open Inference Protocol over gRPC (extra ``grpc``): the same plane, the same verdicts."""
