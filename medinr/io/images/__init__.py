"""Scans in formats without DICOM's header: what they show, BIDS sidecars, MGH, NRRD and MetaImage."""
