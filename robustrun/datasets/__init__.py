"""Labelled images in [0, 1], one file per data set."""

from robustrun.registry import export_modules

__all__ = export_modules(__name__, globals())
