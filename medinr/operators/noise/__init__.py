"""Noise models, and how noisy a scan is."""
