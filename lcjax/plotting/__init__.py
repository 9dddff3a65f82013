"""Figures: a leaf that any room above lcjax.ops may use."""
