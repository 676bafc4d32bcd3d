"""Finished runs -> tables, figures, files."""
