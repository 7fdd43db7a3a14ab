"""Layers, recurrent cores and distributions; Equinox modules whose every leaf is a float array."""
