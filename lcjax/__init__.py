"""lcjax: land-cover mapping from satellites and aircraft in JAX."""

__version__ = "0.1.0"
