"""Measurements to images: problem, data consistency, half-quadratic splitting, solution."""
