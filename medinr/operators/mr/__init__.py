"""Magnetic resonance: Fourier transforms on and off the grid, sampling, coils and their sensitivities."""
