"""Measurements to images: the problem, the head, the fit, the stop."""
