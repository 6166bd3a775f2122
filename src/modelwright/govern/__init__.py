"""Actor + action -> Decision.

The stage's one rule: what is not granted is denied; an unknown role or act is nobody's.
"""
