"""What a data set is: sensors, legends, records and splits, as data."""
