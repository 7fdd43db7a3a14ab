"""Returns and losses: pure functions of arrays."""
