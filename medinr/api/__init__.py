"""Reconstruction from arrays, without files: what `import medinr` offers under short names."""
