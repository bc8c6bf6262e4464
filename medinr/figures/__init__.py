"""Figures of reconstructions, their convergence and their uncertainty."""
