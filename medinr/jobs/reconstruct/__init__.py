"""From a measurement to the folder of its reconstruction."""
