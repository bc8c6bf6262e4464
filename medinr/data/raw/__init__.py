"""Preparation of raw data: recorded steps, coils, views, and the resulting measurement."""
