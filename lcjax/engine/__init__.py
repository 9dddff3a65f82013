"""What a config becomes: network, optimiser, steps."""
