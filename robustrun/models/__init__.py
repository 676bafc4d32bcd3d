"""Networks from [0, 1] images to logits, one file per family."""

from robustrun.registry import export_modules

__all__ = export_modules(__name__, globals())
