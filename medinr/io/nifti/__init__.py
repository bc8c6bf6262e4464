"""NIfTI files to volumes and back."""

from medinr.io.nifti.read import read_nifti, read_nifti_volumes
from medinr.io.nifti.write import write_nifti

__all__ = ["read_nifti", "read_nifti_volumes", "write_nifti"]
