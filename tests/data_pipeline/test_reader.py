"""Scans in other people's MONAI pipelines."""

import pickle

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor, NibabelReader, PydicomReader
from monai.transforms import Compose, EnsureChannelFirstd, LoadImage, LoadImaged, Orientationd, Spacingd, SpatialPadd

import medinr
from medinr.data.reader import MedinrReader
from medinr.errors import FileError, GeometryError, UnitError
from medinr.io.nifti import write_nifti

# MONAI builds all its readers whichever is asked for, and one of them warns that its decoder is not installed.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")


@pytest.fixture
def scan(synthetic):
    """Oblique, with one voxel that nothing else reaches."""
    volume = synthetic.phantom((5, 24, 20), geometry=synthetic.affine(angles=(8, -12, 20)))
    volume.array[3, 7, 11] = 4000
    return volume


@pytest.fixture
def folder(scan, synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "series", scan)
    return tmp_path / "series"


def _marked(array, affine) -> np.ndarray:
    array = np.asarray(array)
    where = np.unravel_index(int(array.argmax()), array.shape)
    return (np.asarray(affine) @ [*where[-3:], 1])[:3]


def test_dicom_folder_is_x_y_z_in_ras_with_the_keys_of_monai(folder, scan):
    image = LoadImage(reader=MedinrReader)(folder)
    assert isinstance(image, MetaTensor)
    assert image.shape == (20, 24, 5)
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image.numpy(), scan.array.T)
    np.testing.assert_allclose(image.affine, scan.affine, atol=1e-6)
    np.testing.assert_array_equal(image.meta["spatial_shape"], [20, 24, 5])
    assert image.meta["space"] == "RAS"
    assert np.isnan(image.meta["original_channel_dim"])
    assert (image.meta["modality"], image.meta["unit"], len(image.meta["sha256"])) == ("MR", "a.u.", 64)
    np.testing.assert_allclose(_marked(image, image.affine), (scan.affine @ [11, 7, 3, 1])[:3], atol=1e-4)


def test_same_array_and_affine_as_monai_reads_from_nifti(scan, tmp_path):
    path = write_nifti(scan, tmp_path / "scan.nii.gz")
    reader, theirs = MedinrReader(), NibabelReader()
    array, meta = reader.get_data(reader.read(path))
    wanted, wanted_meta = theirs.get_data(theirs.read(path))
    np.testing.assert_array_equal(array, wanted)
    assert array.flags.f_contiguous == wanted.flags.f_contiguous
    for key in ("affine", "original_affine", "spatial_shape"):
        np.testing.assert_allclose(meta[key], wanted_meta[key], atol=1e-4)
    assert meta["space"] == wanted_meta["space"]
    assert np.isnan(wanted_meta["original_channel_dim"]) == np.isnan(meta["original_channel_dim"])


def test_same_voxels_at_the_same_places_as_monai_reads_from_dicom(folder, scan):
    ours = LoadImage(reader=MedinrReader)(folder)
    # They sort by InstanceNumber, here shuffled, so only the grid of slices read one by one can be compared.
    for path in folder.iterdir():
        reader = PydicomReader()
        theirs, meta = reader.get_data(reader.read(path))
        number = int(np.argmin([np.abs(scan.array[k].T - np.squeeze(theirs)).max() for k in range(5)]))
        np.testing.assert_array_equal(np.squeeze(theirs), ours[..., number])
        corner = (np.asarray(meta["affine"]) @ [11, 7, 0, 1])[:3]
        np.testing.assert_allclose(corner, (ours.affine.numpy() @ [11, 7, number, 1])[:3], atol=1e-4)


def test_ordered_series_agrees_with_pydicom_reader(scan, synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "in_order", scan, seed=None)
    ours, theirs = (LoadImage(reader=reader)(tmp_path / "in_order") for reader in (MedinrReader, PydicomReader))
    np.testing.assert_allclose(_marked(ours, ours.affine), _marked(theirs, theirs.affine), atol=1e-4)
    assert sorted(np.unique(ours)) == sorted(np.unique(theirs))


def test_choices_of_modality_series_and_volume(folder, scan, synthetic, tmp_path):
    path = write_nifti(scan, tmp_path / "scan.nii")
    assert LoadImage(reader=MedinrReader, modality="OT")(path).meta["modality"] == "OT"
    synthetic.write_dicom_series(folder / "second", synthetic.phantom((3, 24, 20)), description="second")
    assert LoadImage(reader=MedinrReader(series=2))(folder).shape == (20, 24, 3)
    assert LoadImage(reader=MedinrReader, series="sec*")(folder).shape == (20, 24, 3)
    with pytest.raises(UnitError, match="CT was asked for"):
        LoadImage(reader=MedinrReader(series=1, modality="CT"))(folder)
    with pytest.raises(FileError, match="index"):
        LoadImage(reader=MedinrReader(index=0))(folder)


def test_reader_is_found_by_its_dotted_name(folder):
    assert LoadImage(reader="medinr.MedinrReader")(folder).shape == (20, 24, 5)
    assert medinr.MedinrReader is MedinrReader


def test_auto_selection_goes_by_content(folder, tmp_path):
    loader = LoadImage()
    loader.register(MedinrReader())
    assert loader(folder).meta["modality"] == "MR"
    assert not MedinrReader().verify_suffix([folder, tmp_path / "absent.nii"])


def test_what_medinr_refuses_is_not_read_by_another_reader(scan, synthetic, tmp_path):
    paths = synthetic.write_dicom_series(tmp_path / "gap", scan)
    paths[2].unlink()
    with pytest.raises(GeometryError, match="missing"):
        LoadImage(reader=MedinrReader)(tmp_path / "gap")
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        Compose([LoadImaged("image", reader=MedinrReader)])({"image": tmp_path / "gap"})
    assert isinstance(caught.value.__cause__, GeometryError)


def test_several_files_become_channels_of_one_grid(scan, tmp_path):
    paths = [write_nifti(scan.with_array(factor * scan.array), tmp_path / f"{factor}.nii.gz") for factor in (1, 2)]
    image = LoadImage(reader=MedinrReader, ensure_channel_first=True)(paths)
    assert image.shape == (2, 20, 24, 5)
    np.testing.assert_array_equal(image[1], 2 * image[0])
    moved = scan.affine.copy()
    moved[0, 3] += 1
    other = write_nifti(medinr.Volume(scan.array, moved, "MR"), tmp_path / "moved.nii")
    with pytest.raises(GeometryError, match=r"moved\.nii: not on the voxels of"):
        LoadImage(reader=MedinrReader)([paths[0], other])


def _transforms() -> Compose:
    return Compose(
        [
            LoadImaged(keys="image", reader=medinr.MedinrReader),
            EnsureChannelFirstd(keys="image"),
            Orientationd(keys="image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacingd(keys="image", pixdim=(1.0, 1.0, 3.0)),
            SpatialPadd(keys="image", spatial_size=(40, 40, 12)),
        ]
    )


def test_pipeline_keeps_the_marked_voxel_where_it_is(folder, scan):
    image = _transforms()({"image": folder})["image"]
    assert image.shape[0] == 1
    assert image.meta["modality"] == "MR"
    found = _marked(image[0], image.affine)
    assert np.linalg.norm(found - (scan.affine @ [11, 7, 3, 1])[:3]) < np.linalg.norm([0.5, 0.5, 1.5])


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_cached_and_loaded_by_workers(method, folder, scan, tmp_path):
    items = [{"image": folder}, {"image": write_nifti(scan, tmp_path / "scan.nii.gz")}]
    transforms = _transforms()
    plain = [transforms(item)["image"] for item in items]
    loader = DataLoader(Dataset(items, transforms), batch_size=2, num_workers=1, multiprocessing_context=method)
    batch = next(iter(loader))["image"]
    assert batch.shape == (2, 1, *plain[0].shape[1:])
    for number in range(2):
        np.testing.assert_array_equal(batch[number].numpy(), plain[number].numpy())
    assert batch.meta["modality"] == ["MR", "MR"]
    cached = CacheDataset(items, transforms, progress=False, num_workers=1)
    np.testing.assert_array_equal(cached[0]["image"].numpy(), plain[0].numpy())


def test_a_reader_can_be_sent_to_another_process():
    reader = pickle.loads(pickle.dumps(MedinrReader(series=3, modality="CT")))
    assert (reader.series, reader.index, reader.modality) == (3, None, "CT")
