"""Computed tomography: parallel and fan beams, filtered backprojection, ordered subsets of views."""
