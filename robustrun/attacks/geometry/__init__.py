"""Balls of images: distances, projections, random starts, steepest directions."""
