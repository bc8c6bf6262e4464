import json

import numpy as np
import pandas as pd
import pytest
import safetensors
from safetensors.numpy import save_file

from medinr.errors import FileError
from medinr.jobs.evaluate.results import COLUMNS, Results, make_table, read_case, write_case, write_table
from medinr.metrics.image_quality import psnr


@pytest.fixture(scope="module")
def results(synthetic_results, tmp_path_factory) -> Results:
    return synthetic_results(tmp_path_factory.mktemp("evaluation"), patients=2)


def test_the_table_is_one_row_per_slice_method_region_and_metric(results) -> None:
    assert tuple(results.table.columns) == COLUMNS
    assert len(results.table) == 3 * 2 * 2 * 3 * 2 * 5
    assert not results.table.duplicated(list(COLUMNS[:10])).any()
    stopped = results.table.loc[results.table["method"] == "medinr", "stopped_at"]
    assert (stopped == 40).all()
    assert results.table.loc[results.table["method"] != "medinr", "stopped_at"].isna().all()


def test_csv_and_parquet_say_the_same_to_the_last_digit(results) -> None:
    parquet = pd.read_parquet(results.folder / "results.parquet")
    np.testing.assert_array_equal(parquet["value"].to_numpy(), results.table["value"].to_numpy())
    assert list(parquet["scan"]) == list(results.table["scan"])


def test_numbers_can_be_made_again_from_the_images(results) -> None:
    cases = results.cases()
    assert len(cases) == 12
    case = cases[0]
    images = results.images(case)
    assert images["reference"].shape == (32, 28)
    assert images["reference"].dtype == np.float32
    wanted = psnr(np.clip(images["FBP"], -1000, 1000), images["reference"], case.peak)
    rows = results.table
    rows = rows[(rows["task"] == case.task) & (rows["scan"] == case.scan) & (rows["slice"] == case.slice)]
    (found,) = rows.loc[(rows["method"] == "FBP") & (rows["region"] == "slice") & (rows["metric"] == "psnr"), "value"]
    assert found == pytest.approx(wanted, abs=1e-9)


def test_a_case_says_all_about_itself(results) -> None:
    (case, *_) = [c for c in results.cases() if c.task == "kspace_mr_single_4x"]
    assert case.case == f"{case.task}__{case.scan}__0000"
    assert (case.subject, case.session, case.contrast, case.slice) == ("p0", "v1", "FLAIR", 0)
    assert case.spacing == (1.0, 0.9)
    assert case.sampling["kind"] == "lines"
    assert len(case.curves["medinr"]["psnr"]) == len(case.curves["medinr"]["seconds"]) == 4


def test_the_order_of_rows_does_not_matter(results, tmp_path) -> None:
    rows = results.table.astype(object).to_dict("records")
    write_table(tmp_path, make_table(rows[::-1]))
    assert (tmp_path / "results.csv").read_bytes() == (results.folder / "results.csv").read_bytes()


def test_what_is_no_evaluation_is_refused(results, tmp_path) -> None:
    with pytest.raises(FileError, match="holds no evaluation"):
        Results.read(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"format": "medinr-evaluation-1"}')
    with pytest.raises(FileError, match=r"'medinr-evaluation-1'; this version reads 'medinr-evaluation-2'"):
        Results.read(tmp_path)
    (tmp_path / "evaluation.json").write_bytes((results.folder / "evaluation.json").read_bytes())
    with pytest.raises(FileError, match=r"results\.csv cannot be read"):
        Results.read(tmp_path)
    (tmp_path / "results.csv").write_text("task,value\nct,1\n")
    with pytest.raises(FileError, match="lacks the column subject"):
        Results.read(tmp_path)
    with pytest.raises(FileError, match="cannot be read"):
        results.images("no__such__case")


def test_a_case_of_an_earlier_version_has_no_noise_of_its_reference(results, tmp_path) -> None:
    case = results.cases()[0]
    write_case(tmp_path, case, results.images(case))
    path = tmp_path / "images" / f"{case.case}.safetensors"
    with safetensors.safe_open(path, framework="np") as file:
        facts = json.loads(file.metadata()["medinr"])
    del facts["reference_noise"]
    save_file(results.images(case), path, metadata={"medinr": json.dumps(facts)})
    assert read_case(path) == case
    assert read_case(path).reference_noise == {}
