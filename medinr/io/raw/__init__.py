"""Raw data of scanners from files of several formats: k-space and sinograms."""
