"""Training strategies: each says what to do with one batch, one file each."""

from robustrun.registry import export_modules

__all__ = export_modules(__name__, globals())
