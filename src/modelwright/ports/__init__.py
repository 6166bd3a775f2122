"""Small protocols between the stages and the outside world, each with a fake and a conformance class in ``testing``."""
