"""Resolution: blur, slice profiles, down-sampling, resampling from grid to grid."""
