"""Coordinates, networks, pretraining and checkpoints."""
