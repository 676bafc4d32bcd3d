"""Experiment trackers: where a run's numbers go besides its own folder."""

from robustrun.registry import export_modules

__all__ = export_modules(__name__, globals())
