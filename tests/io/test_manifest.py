from dataclasses import replace

import pytest

from medinr.errors import FileError, ManifestError, OutputExistsError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import COLUMNS, Manifest, ManifestRow, read_manifest, scan_hash, write_manifest

#: Columns of a manifest without raw data and of which every folder holds one series.
PLAIN = COLUMNS[: COLUMNS.index("sidecar")]
HEADER = ",".join(PLAIN)
ROW = ManifestRow("a.nii.gz", "0" * 64, "s1", "1", "MR", "T1", "train", "CC BY", "2:9:3")


def _file(tmp_path, *lines, header=HEADER):
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def test_round_trip(tmp_path):
    rows = (ROW, replace(ROW, path="../b/c", subject="s, 2", slices=""))
    path = write_manifest(Manifest(rows, tmp_path), tmp_path / "manifest.csv")
    assert read_manifest(path) == Manifest(rows, tmp_path)
    with pytest.raises(OutputExistsError):
        write_manifest(Manifest(rows, tmp_path), path)


def test_the_sidecar_column_stands_only_where_it_is_used(tmp_path):
    plain = write_manifest(Manifest((ROW,), tmp_path), tmp_path / "plain.csv")
    assert "sidecar" not in plain.read_text()
    raw = Manifest((ROW, replace(ROW, path="scan.npy", sidecar="said/scan.yaml")), tmp_path)
    again = read_manifest(write_manifest(raw, tmp_path / "raw.csv"))
    assert again == raw
    assert again.sidecar_of(again.rows[0]) is None
    assert again.sidecar_of(again.rows[1]) == tmp_path / "said" / "scan.yaml"
    with pytest.raises(ManifestError, match=r"sidecar '/a\.yaml' is valid on one machine only"):
        replace(ROW, sidecar="/a.yaml")


def test_a_series_of_several_is_named_by_its_number(synthetic, tmp_path):
    for seed in (1, 2):
        phantom = synthetic.phantom((2, 8, 8), seed=seed)
        synthetic.write_dicom_series(tmp_path / "mixed" / str(seed), phantom)
    digests = [scan_hash(tmp_path / "mixed", number) for number in (1, 2)]
    assert digests == [hash_scan(tmp_path / "mixed" / str(seed)) for seed in (1, 2)]
    rows = tuple(
        replace(ROW, path="mixed", series=str(number), sha256=digest) for number, digest in enumerate(digests, 1)
    )
    manifest = read_manifest(write_manifest(Manifest(rows, tmp_path), tmp_path / "two.csv"))
    assert manifest.rows == rows
    assert [row.series_number for row in rows] == [1, 2]
    assert ROW.series_number is None
    for row in rows:
        assert manifest.verify(row) == tmp_path / "mixed"
    with pytest.raises(ManifestError, match="SHA-256"):
        manifest.verify(replace(rows[0], series="2"))
    for wrong in ("0", "-1", "a", "1.5"):
        with pytest.raises(ManifestError, match="series"):
            replace(ROW, series=wrong)


def test_slices_column_may_be_absent(tmp_path):
    path = _file(tmp_path, f"a.nii,{'0' * 64},s1,,CT,,test,CC0", header=",".join(PLAIN[:-1]))
    assert read_manifest(path).rows[0].slice_numbers(3) == (0, 1, 2)


@pytest.mark.parametrize(
    ("header", "line", "words"),
    [
        (",".join(PLAIN).replace("subject", "subjekt"), "", "unknown column 'subjekt'; did you mean 'subject'"),
        (",".join(PLAIN).replace(",licence", ""), "", "licence is missing"),
        (",".join((*PLAIN, "path")), "", "twice"),
        (None, f"a,{'0' * 64},s,,MR,T1,train", "line 2: 7 values"),
        (None, f"a,{'0' * 64},s,,MR,T1,train,CC,,more", "line 2"),
        (None, f"a,{'0' * 63},s,,MR,T1,train,CC,", "line 2: sha256"),
        (None, f"a,{'0' * 64},s,,PET,T1,train,CC,", "line 2: modality 'PET'"),
        (None, f"a,{'0' * 64},s,,MR,T1,training,CC,", "line 2: split 'training'"),
        (None, f"a,{'0' * 64},,,MR,T1,train,CC,", "line 2: column 'subject' is empty"),
        (None, f"/home/a,{'0' * 64},s,,MR,T1,train,CC,", "one machine only"),
        (None, f"a,{'0' * 64},s,,MR,T1,train,CC,4-9", "line 2: slices '4-9'"),
        (None, f"a,{'0' * 64},s,,MR,T1,train,CC,9 4", "line 2: slices '9 4'"),
        (",".join((*PLAIN, "series")), f"a,{'0' * 64},s,,MR,T1,train,CC,,two", "line 2: series 'two'"),
    ],
)
def test_malformed_manifests_say_where(tmp_path, header, line, words):
    path = _file(tmp_path, line, header=header or ",".join(PLAIN))
    with pytest.raises(ManifestError, match=words):
        read_manifest(path)


def test_a_scan_twice_and_no_manifest_at_all(tmp_path):
    line = f"a,{'0' * 64},s,,MR,T1,train,CC,"
    with pytest.raises(ManifestError, match="line 3: a is on line 2"):
        read_manifest(_file(tmp_path, line, line))
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "scan.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(tmp_path / "scan.csv")


def test_subject_in_two_splits_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="'s1' is in both 'train' and 'test'"):
        Manifest((ROW, replace(ROW, path="b", split="test")), tmp_path)


def test_select_and_slices():
    manifest = Manifest((ROW, replace(ROW, path="b", contrast="T2"), replace(ROW, path="c", modality="CT")), None)
    assert [row.path for row in manifest.select(modality="MR", contrast="T2")] == ["b"]
    assert len(manifest.select(split="train", contrast=("T1", "T2"))) == 3
    assert len(manifest.select(split="test")) == 0
    assert ROW.slice_numbers(40) == (2, 5, 8)
    assert replace(ROW, slices="1 4").slice_numbers(5) == (1, 4)
    with pytest.raises(ManifestError, match="slices 0 to 3"):
        replace(ROW, slices="1 4").slice_numbers(4)
    with pytest.raises(ManifestError, match="slices 0 to 1"):
        ROW.slice_numbers(2)


def test_verify_knows_missing_and_changed_scans(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"scan")
    manifest = Manifest((replace(ROW, sha256=hash_scan(tmp_path / "a.nii.gz")),), tmp_path)
    assert manifest.verify(manifest.rows[0]) == tmp_path / "a.nii.gz"
    (tmp_path / "a.nii.gz").write_bytes(b"other")
    with pytest.raises(ManifestError, match="SHA-256"):
        manifest.verify(manifest.rows[0])
    (tmp_path / "a.nii.gz").unlink()
    with pytest.raises(ManifestError, match="is missing"):
        manifest.verify(manifest.rows[0])


def test_hash_of_a_folder_is_that_of_its_dicom_files(synthetic, tmp_path):
    paths = synthetic.write_dicom_series(tmp_path / "a", synthetic.phantom((2, 4, 4)))
    whole = hash_scan(tmp_path / "a")
    (tmp_path / "a" / "LICENCE").write_text("CC0")
    assert hash_scan(tmp_path / "a") == whole
    paths[0].unlink()
    assert hash_scan(tmp_path / "a") == hash_scan(paths[1]) != whole
    with pytest.raises(FileError, match="no DICOM file"):
        hash_scan(tmp_path / "a" / ".." / "a" / ".." / ".." / tmp_path.name / _empty(tmp_path))
    with pytest.raises(FileError, match="no such"):
        hash_scan(tmp_path / "none")


def _empty(folder):
    (folder / "empty").mkdir()
    return "empty"
