"""Adversaries: each is one callable `(model, x, y) -> x_adv` with typed settings, one file each."""

from robustrun.registry import export_modules

__all__ = export_modules(__name__, globals())
