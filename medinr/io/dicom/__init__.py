"""DICOM series to volumes, and derived series back."""
