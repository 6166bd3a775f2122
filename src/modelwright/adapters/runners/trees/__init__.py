"""Ensembles of trees out of ONNX graphs, run by a kernel of our own where that is faster and gives the same bits."""
