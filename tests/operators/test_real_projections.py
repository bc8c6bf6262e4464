"""Geometry on a real scan: the centre of rotation that its makers state is the one that gives the cleanest image."""

import h5py
import pytest
import torch

from medinr.operators import ParallelBeam, fbp


@pytest.mark.shared
def test_the_stated_centre_of_the_tooth_is_the_best(shared_data):
    with h5py.File(shared_data / "sinogram" / "tooth.h5") as file:
        scan, dark, flat = (file[f"exchange/{name}"][:, 0] for name in ("data", "data_dark", "data_white"))
        angles = torch.deg2rad(torch.from_numpy(file["exchange/theta"][:]))
    scan, dark, flat = (torch.from_numpy(part).float() for part in (scan, dark.mean(0), flat.mean(0)))
    sinogram = -((scan - dark) / (flat - dark)).clamp(min=1e-4).log()

    def undershoot(pixel):
        projector = ParallelBeam((256, 256), (2, 2), angles, 640, 1.0, centre=pixel - 639 / 2)
        image = fbp(sinogram, projector, "hann")
        axis = torch.arange(256) - 127.5
        inside = torch.hypot(axis[:, None], axis) < 115
        return float(image.clamp(max=0).square()[inside].sum())

    found = {pixel: undershoot(pixel) for pixel in (292, 294, 296, 298, 300)}
    assert min(found, key=found.get) == 296
