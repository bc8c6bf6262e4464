"""Descriptions of files for `medinr inspect`."""
