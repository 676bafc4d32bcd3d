"""Clean and robust accuracy, example by example, and whether they can be believed."""
