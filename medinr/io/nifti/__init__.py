"""NIfTI files to volumes and back."""

from medinr.io.nifti.read import read_nifti
from medinr.io.nifti.write import write_nifti

__all__ = ["read_nifti", "write_nifti"]
