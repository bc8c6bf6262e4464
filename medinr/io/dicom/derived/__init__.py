"""Results as derived DICOM objects: headers, pixels and what they say of their sources."""
