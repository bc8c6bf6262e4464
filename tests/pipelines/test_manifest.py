"""`medinr manifest build`, `verify` and `split` on folders as archives give them."""

import csv
import gzip
import json
import stat
from dataclasses import replace

import numpy as np
import pytest
from medinr.pipelines.manifest import build, split, verify

from medinr.errors import FileError, ManifestError, OutputExistsError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, read_manifest, write_manifest
from medinr.io.nifti import write_nifti
from medinr.io.scan import read_scan
from medinr.jobs.manifest.build import BuildSettings
from medinr.volume import Volume

#: Planted in headers; no output may repeat them.
PLANTED = {
    "PatientName": "Musterfrau^Erika",
    "PatientID": "HOSP-4711",
    "PatientBirthDate": "19640812",
    "AccessionNumber": "ACC998877",
    "InstitutionName": "Klinikum Beispielstadt",
    "ReferringPhysicianName": "Hausarzt^Hugo",
    "StudyID": "STU5566",
    "StudyDate": "20240229",
    "StudyTime": "131415",
}


def anatomy(seed: int, shape=(6, 48, 44), modality: str = "MR") -> Volume:
    """A body with its own organs: unlike that of any other seed."""
    generator = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    array = np.where(body, 400.0, 0.0)
    for _ in range(12):
        at, size = generator.uniform(-0.6, 0.6, 2), generator.uniform(0.1, 0.3, 2)
        organ = ((x - at[0]) / size[0]) ** 2 + ((y - at[1] - 0.05 * z) / size[1]) ** 2 < 1
        array += np.where(organ & body, generator.uniform(-250, 400), 0)
    array = np.clip(array, 0, None) + body * generator.integers(0, 30, shape)
    if modality == "CT":
        array = array - 1000
    geometry = np.diag([-0.9, -0.9, 3.0, 1.0])
    return Volume(np.rint(array).astype(np.float32), geometry, modality, "HU" if modality == "CT" else "a.u.")


def labelled(**tags):
    def change(dataset, number):
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return change


@pytest.fixture
def archive(synthetic, tmp_path):
    """Three persons of whom one came twice, in folders of a scanner, with what else lies there."""
    root = tmp_path / "archive"

    def put(folder, seed, modality="MR", description="t2_tse_tra", **tags):
        change = labelled(**PLANTED | tags)
        volume = anatomy(seed, modality=modality)
        return synthetic.write_dicom_series(root / folder, volume, description=description, change=change)

    put("a/1", 1)
    put("a/2", 2, StudyInstanceUID="1.2.3.9", StudyDate="20210101", description="T1 MPRAGE HOSP-4711")
    for number, seed in ((1, 3), (2, 4)):
        put(f"b/all/{number}", seed, PatientID="B", StudyInstanceUID="1.2.3.4")
        for path in (root / "b" / "all" / str(number)).iterdir():
            path.rename(root / "b" / "all" / f"{number}{path.name}")
    put("c", 5, "CT", PatientID="C", description="Thorax")
    put("c_scout", 6, PatientID="C", description="localizer")
    (root / "a" / "1" / "README").write_text("hello")
    (root / "a" / "1" / "cut.dcm").write_bytes((root / "a" / "2" / "IM0000").read_bytes()[:700])
    return root


def test_a_folder_of_dicom_becomes_a_manifest(archive, tmp_path):
    out = tmp_path / "out" / "manifest.csv"
    seen = []
    built = build(archive, out, BuildSettings("CC0"), progress=lambda *where: seen.append(where))
    manifest = read_manifest(out)
    assert manifest.rows == built.manifest.rows
    paths = [row.path for row in manifest]
    assert paths[:2] == ["../archive/a/1", "../archive/a/2"]
    assert [row.modality for row in manifest if row.path.endswith("/c")] == ["CT"]
    first, second = manifest.rows[:2]
    assert (first.contrast, second.contrast) == ("T2", "T1")
    assert first.subject == second.subject
    assert (first.session[:3], second.session[:3]) == ("02-", "01-")
    assert len({row.subject for row in manifest}) == 3
    assert {row.licence for row in manifest} == {"CC0"}
    left_out = {one.name: one.reason for one in built.excluded}
    assert left_out["c_scout"] == "a localiser"
    assert "damaged" in left_out["a/1/cut.dcm"]
    for row in manifest:
        path = manifest.verify(row)
        assert read_scan(path, series=row.series_number).modality == row.modality
    assert seen[-1][1] == seen[-1][2]
    assert verify(out) == []


def test_one_folder_of_several_series_gives_a_row_each(archive, tmp_path):
    build(archive, tmp_path / "m.csv")
    manifest = read_manifest(tmp_path / "m.csv")
    rows = [row for row in manifest if row.path == "archive/b/all"]
    assert [row.series for row in rows] == ["1", "2"]
    assert len({row.sha256 for row in rows}) == 2
    pictures = [read_scan(manifest.verify(row), series=row.series_number).array for row in rows]
    assert not np.array_equal(*pictures)


def test_a_series_in_time_is_left_out_whole(archive, synthetic, tmp_path):
    for time in range(9):
        change = labelled(**PLANTED, TemporalPositionIdentifier=time + 1, FrameOfReferenceUID="1.2.3.4")
        synthetic.write_dicom_series(archive / "t" / str(time), anatomy(time), series_uid="1.2.3.77", change=change)
        for path in (archive / "t" / str(time)).iterdir():
            path.rename(archive / "t" / f"{time}{path.name}")
    built = build(archive, tmp_path / "m.csv")
    assert not [row for row in built.manifest if "archive/t" in row.path]
    (reason,) = [one.reason for one in built.excluded if one.name == "t"]
    assert "9 stacks" in reason


def test_nothing_identifies_the_patient(archive, tmp_path, medinr):
    out = tmp_path / "m.csv"
    done = medinr("manifest", "build", archive, "--out", out)
    assert done.code == 0, done.err
    again = medinr("manifest", "verify", out)
    assert again.code == 0, again.out
    text = "\n".join((done.out, done.err, again.out, again.err, out.read_text(), (tmp_path / "m.salt").read_text()))
    for value in (*PLANTED.values(), "Musterfrau", "Erika", "Hausarzt", "1.2.3.9", "1.2.3.4", "20210101", "2024-02-29"):
        assert value not in text
    assert "Do they name patients?" in done.out
    assert not list(tmp_path.glob(".*"))


def test_the_salt_is_for_its_owner_and_gives_the_same_pseudonyms_again(archive, tmp_path):
    first = build(archive, tmp_path / "m.csv").manifest
    salt = tmp_path / "m.salt"
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    with pytest.raises(OutputExistsError):
        build(archive, tmp_path / "m.csv")
    again = build(archive, tmp_path / "m.csv", overwrite=True)
    assert again.manifest == first
    assert again.kept == 3
    other = build(archive, tmp_path / "other.csv").manifest
    assert not {row.subject for row in first} & {row.subject for row in other}
    same = build(archive, tmp_path / "same.csv", salt=str(salt)).manifest
    assert [row.subject for row in same] == [row.subject for row in first]
    assert not (tmp_path / "same.salt").exists()
    typed = [build(archive, tmp_path / f"t{n}.csv", salt="long enough").manifest for n in (1, 2)]
    assert [row.subject for row in typed[0]] == [row.subject for row in typed[1]]
    with pytest.raises(ManifestError, match="at least 8"):
        build(archive, tmp_path / "short.csv", salt="short")
    with pytest.raises(ManifestError, match="no such file"):
        build(archive, tmp_path / "lost.csv", salt="keys/lost.salt")


@pytest.fixture
def bids(tmp_path):
    """Eight persons, some with two sessions, named as in BIDS, with what is no scan."""
    root = tmp_path / "bids"
    for person in range(8):
        for session in (2, 10) if person % 2 else (1,):
            folder = root / f"sub-P{person}" / f"ses-{session}" / "anat"
            folder.mkdir(parents=True)
            for number, suffix in enumerate(("T1w", "FLAIR")):
                volume = anatomy(100 * person + 10 * session + number)
                write_nifti(volume, folder / f"sub-P{person}_ses-{session}_{suffix}.nii.gz")
    (root / "dataset_description.json").write_text(json.dumps({"Name": "test", "BIDSVersion": "1.10.0"}))
    mask = anatomy(1)
    write_nifti(mask.with_array((mask.array > 0).astype(np.float32)), root / "sub-P0" / "sub-P0_mask.nii.gz")
    (root / "sub-P0" / "broken.nii.gz").write_bytes(gzip.compress(b"no scan"))
    write_nifti(anatomy(7), root / "loose_T1.nii.gz")
    return root


def test_a_bids_tree_becomes_a_manifest(bids, tmp_path):
    built = build(bids, tmp_path / "m.csv", BuildSettings(split="50,25,25", seed=3))
    manifest = built.manifest
    assert len(manifest) == 24
    assert len({row.subject for row in manifest}) == 8
    assert {row.contrast for row in manifest} == {"T1", "FLAIR"}
    splits = {split: {row.subject for row in manifest.select(split=split)} for split in ("train", "validation", "test")}
    assert [len(persons) for persons in splits.values()] == [4, 2, 2]
    for row in manifest:
        # ses-10 comes after ses-2, and both are of one person.
        assert row.session[:3] == ("02-" if "ses-10" in row.path else "01-")
        assert "P" not in row.subject + row.session
    reasons = {one.name: one.reason for one in built.excluded}
    assert "mask" in reasons["sub-P0/sub-P0_mask.nii.gz"]
    assert "whose scan is it?" in reasons["loose_T1.nii.gz"]
    other = build(bids, tmp_path / "other.csv", BuildSettings(split="50,25,25", seed=4), salt=str(tmp_path / "m.salt"))
    assert [row.subject for row in other.manifest] == [row.subject for row in manifest]
    assert [row.split for row in other.manifest] != [row.split for row in manifest]


@pytest.mark.parametrize(("rule", "persons"), [("folder", 2), (r"v(\d+)", 3), ("dicom", 0), ("bids", 0), ("zzz", 0)])
def test_who_a_scan_is_of_can_be_told(tmp_path, rule, persons):
    root = tmp_path / "scans"
    for number, name in enumerate(("p1/v1.nii", "p1/v2.nii", "p2/v3.nii", "p2/deep/v3_T2.nii")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_nifti(anatomy(number), root / name)
    settings = BuildSettings(subject_from=rule)
    if persons:
        assert len({row.subject for row in build(root, tmp_path / "m.csv", settings).manifest}) == persons
    else:
        with pytest.raises(ManifestError, match=r"no scan that can be used(?s:.)*whose scan is it"):
            build(root, tmp_path / "m.csv", settings)
        assert not (tmp_path / "m.csv").exists()


def test_more_persons_later_leave_the_old_ones_in_their_splits(bids, tmp_path):
    settings = BuildSettings(split="60,20,20")
    before = {row.path: row for row in build(bids, tmp_path / "m.csv", settings).manifest}
    for person in range(8, 14):
        (bids / f"sub-P{person}").mkdir()
        write_nifti(anatomy(1000 + person), bids / f"sub-P{person}" / f"sub-P{person}_T2w.nii.gz")
    built = build(bids, tmp_path / "m.csv", settings, overwrite=True)
    after = {row.path: row for row in built.manifest}
    assert built.kept == 8
    assert len(after) == len(before) + 6
    assert all(after[path] == row for path, row in before.items())
    assert {after[path].split for path in after.keys() - before.keys()} == {"train", "validation", "test"}


def test_an_interrupted_build_goes_on(bids, tmp_path, monkeypatch):
    from medinr.jobs.manifest import build as job

    read, count = job.read_candidate, []

    def counting(*arguments):
        count.append(arguments)
        if len(count) == 5:
            raise KeyboardInterrupt
        return read(*arguments)

    monkeypatch.setattr(job, "read_candidate", counting)
    with pytest.raises(KeyboardInterrupt):
        build(bids, tmp_path / "m.csv")
    journal = tmp_path / ".m.unfinished.jsonl"
    assert len(journal.read_text().splitlines()) == 4
    assert "sub-" not in journal.read_text()
    with journal.open("a") as file:
        file.write('{"key": "cut off')
    built = build(bids, tmp_path / "m.csv")
    assert len(count) == 5 + 25 - 4  # a scan of nobody is not read
    assert len(built.manifest) == 24
    assert not journal.exists()


def test_a_copy_in_another_format_is_found_and_put_in_the_same_split(archive, tmp_path):
    build(archive, tmp_path / "before.csv")
    scan = read_scan(archive / "a" / "1")
    (archive / "elsewhere").mkdir()
    eight_bits = scan.with_array(np.rint(scan.array / scan.array.max() * 255).astype(np.float32))
    write_nifti(eight_bits, archive / "elsewhere" / "copy.nii.gz")
    built = build(archive, tmp_path / "m.csv", BuildSettings(split="40,30,30"))
    (copy,) = built.copies
    assert {copy.one, copy.other} == {"a/1", "elsewhere/copy.nii.gz"}
    assert len(copy.subjects) == 2
    splits = {row.path: row.split for row in built.manifest}
    assert splits["archive/elsewhere/copy.nii.gz"] == splits["archive/a/1"]


def test_files_that_are_the_same_bytes_are_listed_once(bids, tmp_path):
    source = next(bids.glob("sub-P3/ses-2/anat/*T1w.nii.gz"))
    twin = bids / "sub-P3" / "sub-P3_desc-again_T1w.nii.gz"
    twin.write_bytes(source.read_bytes())
    strange = bids / "sub-P4" / "sub-P4_desc-stolen_T1w.nii.gz"
    strange.write_bytes(source.read_bytes())
    built = build(bids, tmp_path / "m.csv")
    assert sum("the same bytes" in one.reason for one in built.excluded) == 1
    assert len(built.manifest) == 25
    (copy,) = built.copies
    assert copy.distance == 0
    assert len({row.split for row in built.manifest if row.subject in copy.subjects}) == 1


@pytest.fixture
def two(tmp_path):
    """A manifest of two persons in two splits."""
    rows = []
    for number, where in enumerate(("train", "test")):
        path = write_nifti(anatomy(number), tmp_path / f"{number}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), f"s{number}", "", "MR", "T1", where, "CC0"))
    return write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "m.csv")


def _edit(manifest, **values):
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    rows[1].update(values)
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def test_a_good_manifest_is_said_to_be_good(two, medinr):
    done = medinr("manifest", "verify", two)
    assert (done.code, done.out.strip().splitlines()[-1]) == (0, "Nothing is wrong (hashes and pictures).")
    assert "2 scans" in medinr("manifest", two).out


def test_all_that_is_wrong_is_found(two, tmp_path, medinr):
    (tmp_path / "0.nii.gz").unlink()
    (tmp_path / "1.nii.gz").write_bytes(b"other")
    _edit(two, subject="s0")
    found = {finding.kind: finding for finding in verify(two)}
    assert found.keys() == {"missing", "changed", "subject"}
    assert found["missing"].scan == "0.nii.gz"
    assert "train and test" in found["subject"].words
    done = medinr("manifest", "verify", two)
    assert done.code == 2
    assert "Wrong: 1 x subject, 1 x missing, 1 x changed." in done.out


def test_leakage_is_found_by_bytes_and_by_picture(two, tmp_path, synthetic):
    source = anatomy(0)
    (tmp_path / "1.nii.gz").write_bytes((tmp_path / "0.nii.gz").read_bytes())
    _edit(two, sha256=hash_scan(tmp_path / "0.nii.gz"))
    (found,) = verify(two, images=False)
    assert (found.kind, found.wrong) == ("leakage", True)
    assert "the same bytes" in found.words
    assert [finding.kind for finding in verify(two)] == ["leakage"]
    # The same scan as DICOM, flipped and scaled.
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = source.shape[2] - 1
    other = replace(source, array=np.ascontiguousarray(source.array[:, :, ::-1] * 2), affine=source.affine @ flip)
    synthetic.write_dicom_series(tmp_path / "copy", other)
    _edit(two, path="copy", sha256=hash_scan(tmp_path / "copy"))
    assert verify(two, images=False) == []
    (found,) = verify(two)
    assert (found.kind, found.wrong) == ("leakage", True)
    assert "the same picture (distance 0.0" in found.words
    assert "s0 and s1, in train and test" in found.words
    _edit(two, split="train")
    (note,) = verify(two)
    assert (note.kind, note.wrong) == ("copy", False)


def test_a_new_split_keeps_all_else(bids, tmp_path, medinr):
    old = build(bids, tmp_path / "m.csv", BuildSettings("CC0")).manifest
    new = split(tmp_path / "m.csv", tmp_path / "sub" / "n.csv", fractions="train=0.5,devtest=0.5", seed=7)
    for one, other in zip(old, new, strict=True):
        assert replace(other, path=one.path, split=one.split) == one
        assert new.verify(other) == tmp_path / "sub" / ".." / "bids" / one.path.removeprefix("bids/")
    assert len({row.subject for row in new.select(split="train")}) == 4
    same = split(tmp_path / "m.csv", tmp_path / "again.csv", fractions="50,50", seed=7)
    assert [row.split == "train" for row in same] == [row.split == "train" for row in new]
    with pytest.raises(OutputExistsError):
        split(tmp_path / "m.csv", tmp_path / "again.csv", fractions="50,50")
    done = medinr("manifest", "split", tmp_path / "m.csv", "--fractions", "80,20", "--out", tmp_path / "c.csv")
    assert done.code == 0
    assert read_manifest(tmp_path / "c.csv").select(split="validation").rows == ()


def test_refusals_come_before_the_work(bids, tmp_path, medinr):
    for arguments in (("--split", "70,40"), ("--split", "training=1"), ("--subject-from", "("), ("--licence", " ")):
        done = medinr("manifest", "build", bids, "--out", tmp_path / "m.csv", *arguments)
        assert done.code == 2
        assert "Traceback" not in done.err
    with pytest.raises(FileError, match="no such folder"):
        build(tmp_path / "none", tmp_path / "m.csv")
    with pytest.raises(FileError, match="this is a folder"):
        build(bids, bids)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        build(bids, tmp_path / "file" / "m.csv")
    assert not list(tmp_path.glob("*.salt"))
    (tmp_path / "empty").mkdir()
    done = medinr("manifest", "build", tmp_path / "empty", "--out", tmp_path / "m.csv")
    assert done.code == 2
    assert "no scan that can be used" in done.err


def test_links_lead_nowhere_else(bids, tmp_path):
    outside = write_nifti(anatomy(99), tmp_path / "outside.nii.gz")
    (bids / "sub-P1" / "sub-P1_T2w.nii.gz").symlink_to(outside)
    built = build(bids, tmp_path / "m.csv")
    reasons = {one.name: one.reason for one in built.excluded}
    assert reasons["sub-P1/sub-P1_T2w.nii.gz"] == "a link that leads out of the folder"
    assert len(built.manifest) == 24


@pytest.mark.shared
def test_real_scans_have_no_copies_of_each_other(shared_data, tmp_path):
    built = build(
        shared_data / "brain_mri" / "train",
        tmp_path / "m.csv",
        BuildSettings(subject_from=r"patient\d+(?=_study)|patient\d+(?=\w+MNI)"),
    )
    assert len(built.manifest) == 21
    assert built.copies == ()
    assert {row.contrast for row in built.manifest} == {"T1", "T2", "FLAIR"}
