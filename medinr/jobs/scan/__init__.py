"""The scan that someone has: denoised, or on a finer grid, as it was acquired."""
