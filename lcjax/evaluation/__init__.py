"""From a trained network to its scores."""
