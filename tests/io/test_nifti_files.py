"""Files around a NIfTI scan: pairs, endings that do not fit, declared sizes, and what is no scan at all."""

import gzip
import json
import os
import resource
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medinr.errors import FileError, InputError
from medinr.io.hashes import hash_file, hash_scan
from medinr.io.limits import require_plausible_size
from medinr.io.nifti import read_nifti, write_nifti
from medinr.io.scan import read_scan


def _pair(folder: Path, values: int = 3, kind: type = nib.Nifti1Pair) -> Path:
    array = np.full((4, 3, 2), values, np.int16)
    nib.save(kind(array, np.diag([1.0, 2, 3, 1])), folder / "scan.hdr")
    return folder / "scan.hdr"


def test_either_file_of_a_pair_may_be_given_and_both_count(tmp_path):
    header = _pair(tmp_path)
    first = read_nifti(header)
    second = read_scan(header.with_suffix(".img"))
    np.testing.assert_array_equal(first.array, second.array)
    assert first.spacing == (1, 2, 3)
    assert first.provenance.files == (header, header.with_suffix(".img"))
    assert first.provenance.sha256 == second.provenance.sha256 == hash_scan(header) != hash_file(header)
    (tmp_path / "other").mkdir()
    other = read_nifti(_pair(tmp_path / "other", values=4))
    assert hash_file(other.provenance.files[0]) == hash_file(header)
    assert other.provenance.sha256 != first.provenance.sha256


def test_pair_may_be_compressed(tmp_path):
    header = _pair(tmp_path)
    voxels = header.with_suffix(".img")
    (tmp_path / "scan.img.gz").write_bytes(gzip.compress(voxels.read_bytes()))
    voxels.unlink()
    assert (read_scan(header).array == 3).all()


def test_half_of_a_pair_is_named(tmp_path):
    header = _pair(tmp_path)
    voxels = header.with_suffix(".img")
    content = voxels.read_bytes()
    voxels.unlink()
    with pytest.raises(FileError, match=r"voxels are in another file, scan\.img, which is missing"):
        read_scan(header)
    voxels.write_bytes(content)
    header.unlink()
    with pytest.raises(FileError, match=r"\.hdr file with its header is missing"):
        read_scan(voxels)


def test_analyze_is_read_with_its_orientation_unknown(tmp_path):
    volume = read_scan(_pair(tmp_path, kind=nib.AnalyzeImage))
    assert (volume.array == 3).all()
    assert volume.spacing == (1, 2, 3)
    assert any("which side is left is unknown" in note for note in volume.provenance.notes)


def test_content_decides_whether_it_is_compressed(tmp_path, synthetic):
    volume = synthetic.phantom()
    plain = write_nifti(volume, tmp_path / "a.nii").rename(tmp_path / "plain.nii.gz")
    packed = write_nifti(volume, tmp_path / "b.nii.gz").rename(tmp_path / "packed.nii")
    for path, words in ((plain, "not compressed, in spite of"), (packed, "compressed by gzip, which its ending")):
        read = read_scan(path)
        np.testing.assert_array_equal(read.array, volume.array)
        assert any(words in note for note in read.provenance.notes)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_declared_size_is_compared_with_the_file(tmp_path, suffix):
    header = nib.Nifti1Header()
    header.set_data_shape((1024, 1024, 1024))
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    raw = header.binaryblock + bytes(72)
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix == ".nii.gz" else raw)
    code = (
        "import resource, sys\n"
        "from medinr.errors import FileError\n"
        "from medinr.io.scan import read_scan\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_scan(sys.argv[1])\n"
        "except FileError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    out = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    message, growth = out.strip().splitlines()
    assert "declares 1024 x 1024 x 1024 voxels (1.07 GB); the file holds" in message
    assert int(growth) < 20_000  # kB


def test_reading_takes_the_size_of_the_result_and_little_more(tmp_path):
    array = np.random.default_rng(0).integers(0, 4000, (256, 256, 250)).astype(np.int16)
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    code = (
        "import resource, sys\n"
        "from medinr.io.nifti import read_nifti, write_nifti\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "write_nifti(read_nifti(sys.argv[1]), sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "b.nii")]
    growth = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert growth < 1.6 * array.size * 4 / 1024  # the float32 array, one slab and the sample for the modality


def test_sizes_that_no_scan_has_are_refused():
    require_plausible_size((512, 512, 500), 2, 262_144_000, "a")
    require_plausible_size((512, 512, 500), 2, 60_000_000, "a", compressed=True)
    require_plausible_size((100, 100, 100), 1, 1000, "a", compressed=True)  # a small mask
    with pytest.raises(FileError, match="ends early"):
        require_plausible_size((512, 512, 500), 2, 262_143_999, "a")
    with pytest.raises(FileError, match="of compressed voxels"):
        require_plausible_size((512, 512, 500), 2, 250_000, "a", compressed=True)
    with pytest.raises(FileError, match="1:655, beyond the 1:200"):
        require_plausible_size((512, 512, 500), 2, 400_000, "a", compressed=True)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no scan")


def _tar(path: Path) -> None:
    inner = path.with_name("inner.txt")
    inner.write_text("no scan")
    with tarfile.open(path, "w") as archive:
        archive.add(inner, "inner.txt")
    inner.unlink()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.nii", b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG picture"),
        ("a.nii", b"\xff\xd8\xff\xe0" + bytes(40), "a JPEG picture"),
        ("a.nii", b"%PDF-1.7", "a PDF document"),
        ("a.nii", b"7z\xbc\xaf\x27\x1c" + bytes(20), "a 7z archive"),
        ("a.nii.gz", b"<!DOCTYPE html><html><body>Log in", "an HTML page"),
        ("a.nii.gz", json.dumps({"a": 1}).encode(), "a JSON text"),
        ("a.nii", b"\x89HDF\r\n\x1a\n" + bytes(40), "medinr reconstruct"),
        ("a.nii", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(100), "medinr reconstruct"),
        ("a.nii", b"", "empty"),
        ("a.nii", bytes(5000), "zeros only"),
        ("a.nii", os.urandom(16).replace(b"\n", b" ") + b"\x00\x01\x02" * 500, "not a NIfTI file"),
        ("a.nii.gz", b"\x1f\x8b\x08\x00broken", "damaged gzip"),
        ("a.dcm.gz", gzip.compress(bytes(128) + b"DICM" + bytes(90), mtime=0), "DICOM, compressed by gzip. Decompress"),
        ("a.img", b"\x01\x02" * 300, "its header is missing"),
        ("a.hdr", b"\x01\x02" * 300, "not a NIfTI file"),
        ("a.tar", _tar, "a TAR archive. Unpack"),
        ("a.zip", _zip, "a.zip"),
    ],
)
def test_what_is_no_scan_is_named_by_its_content(tmp_path, name, content, words):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    with pytest.raises(FileError) as error:
        read_scan(path)
    assert words in str(error.value)


def test_what_cannot_be_opened_is_said_in_words(tmp_path, synthetic, monkeypatch):
    (tmp_path / "link.nii").symlink_to(tmp_path / "gone.nii")
    with pytest.raises(FileError, match="leads nowhere"):
        read_scan(tmp_path / "link.nii")
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(FileError, match="a pipe or device"):
        read_scan(tmp_path / "pipe.nii")
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    with pytest.raises(FileError, match=r"loop\.nii"):
        read_scan(tmp_path / "loop.nii")
    with pytest.raises(FileError, match=r"null (byte|character)"):
        read_scan("a\0b.nii")
    path = write_nifti(synthetic.phantom(), tmp_path / "a.nii")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match="permission denied"):
        read_scan(path)


def test_mutated_files_are_refused_in_words_or_read(tmp_path, synthetic):
    """Bytes are changed, cut and inserted: nothing but `InputError` may come out, and little memory be taken."""
    import SimpleITK

    rng = np.random.default_rng(5)
    volume = synthetic.phantom((3, 5, 4))
    array = volume.array.T.astype(np.int16)
    nib.save(nib.Nifti1Image(array, volume.affine), tmp_path / "a.nii")
    nib.save(nib.Nifti1Image(np.stack([array, array], -1), volume.affine), tmp_path / "b.nii.gz")
    nib.save(nib.Nifti2Image(array, volume.affine), tmp_path / "c.nii")
    nib.save(nib.MGHImage(array, volume.affine), tmp_path / "d.mgh")
    image = SimpleITK.GetImageFromArray(volume.array.astype(np.int16))
    for name in ("e.nrrd", "f.mha"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(300):
        name = sorted(files)[number % len(files)]
        raw = bytearray(files[name])
        kind = rng.integers(4)
        place = int(rng.integers(min(len(raw), 600)))
        if kind == 0:
            del raw[place:]
        elif kind == 1:
            raw[place:place] = rng.bytes(int(rng.integers(1, 9)))
        else:
            for position in rng.integers(min(len(raw), 600), size=int(rng.integers(1, 6))):
                raw[position] = rng.integers(256)
        (tmp_path / name).write_bytes(raw)
        try:
            read_scan(tmp_path / name, index=0)
        except InputError as error:
            assert str(error)  # noqa: PT017 (most are refused, some are read)
        (tmp_path / name).write_bytes(files[name])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
