"""Manifests: built from a folder, verified, split anew."""
