"""From scenes to land-cover maps."""
