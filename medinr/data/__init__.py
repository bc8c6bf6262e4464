"""MONAI pipelines: load, orient, scale, slice; simulated acquisitions."""
