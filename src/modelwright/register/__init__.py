"""``Package`` + ``Verdict`` -> ``Version``. The rule: what a gate refused is not registered."""
