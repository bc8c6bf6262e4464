"""Priors for images: trained denoisers, auxiliary scans of the same patient, total variation."""
