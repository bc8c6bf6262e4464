"""Coordinate networks: backbones, pretraining of a shared trunk, and the fit to a measurement."""
