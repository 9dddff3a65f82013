"""The mesh, how arrays lie on it, and the compiled steps."""
