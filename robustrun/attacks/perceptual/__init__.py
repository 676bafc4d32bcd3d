"""Distances as a network sees them, and the networks that measure them."""
