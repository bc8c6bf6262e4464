"""The volumes of a scan, and what is no scan of tissue."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medinr.errors import InputError, IntensityError, UnitError
from medinr.io.choice import ScanChoice
from medinr.io.nifti import write_nifti
from medinr.jobs.scan.source import open_source
from medinr.jobs.scan.suitable import require_slices, require_suitable
from medinr.volume import ScanFacts


def _save(path, arrays, affine=None, **header):
    image = nib.Nifti1Image(
        np.stack(arrays, -1) if len(arrays) > 1 else arrays[0], np.eye(4) if affine is None else affine
    )
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.fixture
def scan(synthetic):
    return synthetic.phantom()


def test_every_volume_is_given_and_repeats_are_kept(scan, tmp_path):
    rng = np.random.default_rng(1)
    noisy = [scan.array.T + rng.normal(0, 5, scan.array.T.shape).astype(np.float32) for _ in range(6)]
    path = _save(tmp_path / "rest_bold.nii.gz", noisy)
    found = open_source(path, ScanChoice())
    assert (found.count, len(found.repeats)) == (6, 6)
    for volume, expected in zip(found.volumes(), noisy, strict=True):
        np.testing.assert_array_equal(volume.array, expected.T)
    assert "6 volumes" in found.words
    one = open_source(path, ScanChoice(index=2), slices=(1, 3))
    assert (one.count, one.first.shape[0], one.repeats) == (1, 2, ())
    np.testing.assert_array_equal(one.first.array, noisy[2].T[[1, 3]])


def test_directions_of_diffusion_are_no_repeats(scan, tmp_path):
    path = _save(tmp_path / "a_dwi.nii.gz", [scan.array.T] * 6)
    path.with_name("a_dwi.bval").write_text("0 1000 1000 1000 1000 1000")
    assert open_source(path, ScanChoice()).repeats == ()
    path.with_name("a_dwi.bval").write_text("0 0 0 0 1000 1000")
    assert len(open_source(path, ScanChoice()).repeats) == 4


def test_magnitude_and_phase_become_complex(scan, tmp_path):
    phase = np.linspace(-np.pi, np.pi, scan.array.size, dtype=np.float32).reshape(scan.shape)
    write_nifti(scan, tmp_path / "a_mag.nii.gz")
    write_nifti(scan.with_array(phase), tmp_path / "a_ph.nii.gz")
    found = open_source(tmp_path / "a_mag.nii.gz", ScanChoice(), phase=tmp_path / "a_ph.nii.gz")
    np.testing.assert_allclose(found.first.array, scan.array * np.exp(1j * phase), atol=1e-2)
    assert found.words.startswith("complex MR")


def test_values_that_cannot_be_treated_are_named(scan, tmp_path):
    broken = scan.array.T.copy()
    broken[3, 4, 2] = np.nan
    path = _save(tmp_path / "t1.nii.gz", [scan.array.T, broken])
    with pytest.raises(IntensityError, match=r"t1.nii.gz, volume 1, slice 2: 1 of 480 voxels are NaN"):
        open_source(path, ScanChoice())
    path = _save(tmp_path / "zero.nii.gz", [0 * scan.array.T])
    with pytest.raises(IntensityError, match="every voxel is zero"):
        open_source(path, ScanChoice())


def test_stacks_of_a_series_on_other_grids(synthetic, scan, tmp_path):
    folder, uid = tmp_path / "study", "1.2.3.4"
    turned = synthetic.phantom((4, 20, 18), geometry=synthetic.affine(angles=(80.0, 0.0, 0.0)))
    synthetic.write_dicom_series(folder / "a", scan, series_uid=uid)
    synthetic.write_dicom_series(folder / "b", turned, series_uid=uid)
    with pytest.raises(InputError, match="series"):
        open_source(folder, ScanChoice())
    found = open_source(folder, ScanChoice(series="1"))
    assert found.count == 1
    assert any("lie on different grids" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("sub-01_ADC.nii.gz", "quantitative map"),
        ("sub-01_T1map.nii.gz", "quantitative map"),
        ("dti_FA.nii.gz", "quantitative map"),
        ("sub-01_fieldmap.nii.gz", "quantitative map"),
        ("sub-01_dseg.nii.gz", "label map"),
        ("t1_mask.nii.gz", "label map"),
        ("sub-01_part-phase_bold.nii.gz", "phase of an MR scan"),
    ],
)
def test_what_a_name_gives_away(scan, tmp_path, name, word):
    path = write_nifti(scan, tmp_path / name)
    volume = open_source(path, ScanChoice()).first
    with pytest.raises(UnitError, match=rf"{word}.*--force"):
        require_suitable(volume)
    assert word in require_suitable(volume, force=True)[0]


def test_scans_are_taken(scan, tmp_path, synthetic):
    for name in ("sub-01_T1w.nii.gz", "fa_md_T2.nii.gz", "masked_flair.nii.gz"):
        assert require_suitable(open_source(write_nifti(scan, tmp_path / name), ScanChoice()).first) == ()
    assert require_suitable(synthetic.phantom(modality="CT")) == ()


def test_labels_are_known_by_their_values_and_by_the_header(scan, tmp_path):
    labels = np.repeat(np.repeat(np.arange(40, dtype=np.float32).reshape(1, 8, 5), 6, 1), 8, 2)
    volume = replace(scan, array=np.repeat(labels, 3, 0))
    with pytest.raises(UnitError, match="label map"):
        require_suitable(volume)
    path = _save(tmp_path / "x.nii.gz", [scan.array.T], intent_code=1002)
    with pytest.raises(UnitError, match="are labels"):
        require_suitable(open_source(path, ScanChoice(modality="MR")).first)


def test_words_of_the_dicom_header(scan):
    facts = ScanFacts(image_type=("DERIVED", "PRIMARY", "DIFFUSION", "ADC"))
    volume = replace(scan, provenance=replace(scan.provenance, format="dicom", facts=facts))
    with pytest.raises(UnitError, match=r"quantitative map \(ADC\)"):
        require_suitable(volume)


def test_other_modalities_and_units(scan):
    with pytest.raises(UnitError, match="modality is OT"):
        require_suitable(replace(scan, modality="OT"))
    assert require_suitable(replace(scan, modality="OT"), force=True)
    with pytest.raises(UnitError, match="wants Hounsfield units"):
        require_suitable(replace(scan, modality="CT", unit="a.u."), force=True)


def test_one_slice_has_nothing_between_slices(scan):
    require_slices(scan, through_plane=True)
    require_slices(scan.select([1]), through_plane=False)
    with pytest.raises(IntensityError, match="one slice"):
        require_slices(scan.select([1]), through_plane=True)
