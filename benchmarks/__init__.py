"""Benchmarks of speed, stability and design choices, each of one run that holds both sides of its comparison.

They stand outside the wheel and run from a checkout: ``python -m benchmarks NAME``. Times depend on the machine, so a
benchmark alternates between medinr and what it is compared with and reports ratios. Each prints a table and writes a
JSON file with all its numbers and the versions of the libraries used.

=============== ========================================================================================================
fit             Seconds until a network's fit of an image reaches 30, 35, 40 dB, beside the published STRAINER recipe.
step            Share of the machine's matrix-product rate that one training step reaches.
volume          All slices of a volume fitted jointly, beside slice by slice.
pretrain        Seconds to pretrain a trunk on ten scans, and on one.
drawdown        How far the PSNR falls during a network's fit, beside the published recipe.
backbones       Quality of each network backbone on a subject left out.
trunks          What a trunk should be pretrained on.
raw             Error of held-out k-space samples of a real multi-coil scan, beside SigPy's reconstructions.
operators       Time and memory of every operator, beside SciPy, SigPy, scikit-image, deepinv and ASTRA.
scan-io         Time and memory of reading, checking and writing a CT series, beside MONAI's reader and writer.
fuzz-readers    Damaged DICOM, NIfTI, MGH, NRRD and MetaImage through readers and writers: a scan or a sentence.
acquired-noise  Spoiled MR scans denoised blindly, beside BM4D, BM3D, DIPY, ANTs and scikit-image.
spine-repeats   One of several repeats of an acquisition denoised, against the mean of the others.
thick-slices    Scans made of thick slices, sharpened from the thick scan alone, beside cubic B-splines.
ct-dose         Low-dose CT: error, contrast of inserts, and how well an observer detects them.
hashes          SHA-256 of every image that a fixed set of commands makes, to prove that moving code changed no result.
=============== ========================================================================================================
"""
