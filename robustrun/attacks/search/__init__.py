"""Searches that several attacks use."""
