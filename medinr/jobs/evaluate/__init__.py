"""Evaluation: from a manifest to a folder of results with cases, methods, scores, statistics and claims."""
