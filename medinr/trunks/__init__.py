"""Pretrained trunks that ship with the package."""
