"""MONAI transforms and datasets, orientation, registration, and the preparation of raw data."""
