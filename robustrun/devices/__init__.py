"""Where and how a run computes."""

from robustrun.registry import export_modules

__all__ = export_modules(__name__, globals())
