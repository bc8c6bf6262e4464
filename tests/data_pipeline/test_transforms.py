import numpy as np
import pytest
import torch
from monai.transforms import Compose

from medinr.data.grid import TrainingGridd
from medinr.data.orient import standard_orientation
from medinr.data.transforms import (
    LoadScand,
    ScaleToPercentiled,
    ScaleToWaterd,
    StandardOrientationd,
    from_metatensor,
    to_metatensor,
)
from medinr.errors import IntensityError, ShapeError, UnitError
from medinr.io.nifti import write_nifti


def test_loaded_image_is_channel_first_with_its_affine(synthetic, tmp_path):
    volume = synthetic.phantom()
    image = LoadScand("image")({"image": write_nifti(volume, tmp_path / "a.nii"), "modality": "MR"})["image"]
    assert image.shape == (1, 20, 24, 5)
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-5)
    assert image.meta["modality"] == "MR"
    np.testing.assert_array_equal(from_metatensor(image).array, volume.array)


@pytest.mark.parametrize("angles", [(0, 0, 0), (180, 0, 90), (90, 0, 0), (0, 90, 0), (20, -15, 30)])
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_orientation_and_scaling_are_undone(synthetic, angles, modality):
    volume = synthetic.phantom(modality=modality, geometry=synthetic.affine(angles=angles))
    volume = volume.with_array(np.clip(volume.array, -1000, 3000))
    scale = ScaleToWaterd("image") if modality == "CT" else ScaleToPercentiled("image")
    pipeline = Compose([StandardOrientationd("image"), scale])
    item = pipeline({"image": to_metatensor(volume)})
    np.testing.assert_array_equal(from_metatensor(item["image"]).affine, standard_orientation(volume).affine)
    back = from_metatensor(pipeline.inverse(item)["image"])
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-9)
    np.testing.assert_allclose(back.array, volume.array, atol=1e-3)


def test_orientation_alone_is_exact(synthetic):
    volume = synthetic.phantom(geometry=synthetic.affine(angles=(180, 0, 90)))
    oriented = StandardOrientationd("image")
    item = oriented({"image": to_metatensor(volume)})
    np.testing.assert_array_equal(from_metatensor(item["image"]).array, standard_orientation(volume).array)
    np.testing.assert_array_equal(from_metatensor(oriented.inverse(item)["image"]).array, volume.array)


def test_percentile_ignores_blanked_air(synthetic):
    volume = synthetic.phantom()
    scaled = ScaleToPercentiled("image")({"image": to_metatensor(volume)})["image"]
    wanted = np.percentile(volume.array[volume.array != 0], 99)
    np.testing.assert_allclose(scaled.numpy().max(), volume.array.max() / wanted, rtol=1e-6)
    assert scaled.numpy().max() > 1
    with pytest.raises(IntensityError, match="percentile"):
        ScaleToPercentiled("image")({"image": to_metatensor(volume.with_array(0 * volume.array))})


def test_water_is_one_and_air_zero(synthetic):
    volume = synthetic.phantom(modality="CT")
    volume.array[0, 0, :4] = (0, -1000, -1024, 9000)
    scaled = ScaleToWaterd("image")({"image": to_metatensor(volume)})["image"]
    np.testing.assert_allclose(scaled[0, :4, 0, 0].numpy(), (1, 0, 0, 4))
    with pytest.raises(UnitError, match=r"a\.u\."):
        ScaleToWaterd("image")({"image": to_metatensor(synthetic.phantom())})


def test_training_grid_keeps_places_in_mm(synthetic):
    volume = synthetic.phantom((1, 60, 50), geometry=synthetic.affine((0.9, 0.8, 3), (10, 5, 20)))
    y, x = np.mgrid[:60, :50]
    blob = np.exp(-((x - 31) ** 2 * 0.81 + (y - 22) ** 2 * 0.64) / (2 * 4.0**2)).astype(np.float32)
    image = to_metatensor(volume.with_array(blob[None]))
    grid = TrainingGridd("image", (40, 44), 1.5)({"image": image})["image"]
    assert grid.shape == (1, 44, 40, 1)
    weights = grid.as_tensor()[0, :, :, 0].double()
    i, j = torch.meshgrid(torch.arange(44.0), torch.arange(40.0), indexing="ij")
    centre = [float((weights * axis).sum() / weights.sum()) for axis in (i, j)]
    found = np.asarray(grid.affine) @ [*centre, 0, 1]
    np.testing.assert_allclose(found, volume.affine @ [31, 22, 0, 1], atol=0.05)


def test_coarser_grid_does_not_alias(synthetic):
    stripes = np.indices((1, 64, 64))[2] % 2
    volume = synthetic.phantom((1, 64, 64), geometry=synthetic.affine((1, 1, 1)))
    image = to_metatensor(volume.with_array(stripes.astype(np.float32)))
    coarse = TrainingGridd("image", (20, 20), 2.4)({"image": image})["image"].numpy()[0, 4:-4, 4:-4, 0]
    assert np.abs(coarse - 0.5).max() < 0.02


def test_training_grid_takes_one_slice(synthetic):
    with pytest.raises(ShapeError, match="one slice"):
        TrainingGridd("image", (8, 8), 1.0)({"image": to_metatensor(synthetic.phantom())})
