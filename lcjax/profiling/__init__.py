"""What a step costs: measured, counted, or compiled for machines that are not there."""
