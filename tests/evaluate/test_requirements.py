import pytest

from medinr.errors import ConfigError
from medinr.jobs.evaluate.requirements import judge, parse_requirement

METHODS = {"kspace_mr_single_4x": ("zero-filled", "TV", "plug-and-play", "medinr"), "ct": ("FBP",)}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("psnr[kspace_mr_single_4x] >= tv + 1.0", ("psnr", "slice", "medinr", ">=", "TV", 1.0)),
        ("ssim.body[kspace_mr_single_4x]>zero-filled", ("ssim", "body", "medinr", ">", "zero-filled", 0.0)),
        ("  nrmse[ kspace_mr_single_4x , TV ] <= 0.1 ", ("nrmse", "slice", "TV", "<=", "", 0.1)),
        ("psnr[kspace_mr_single_4x] > plug-and-play - .25", ("psnr", "slice", "medinr", ">", "plug-and-play", -0.25)),
        ("psnr[ct,fbp] < -1e1", ("psnr", "slice", "FBP", "<", "", -10.0)),
        ("seconds[kspace_mr_single_4x] <= 60", ("seconds", "slice", "medinr", "<=", "", 60.0)),
        ("regret[kspace_mr_single_4x] <= 0.1", ("regret", "slice", "medinr", "<=", "", 0.1)),
    ],
)
def test_claims_are_read(text: str, parts: tuple) -> None:
    found = parse_requirement(text, METHODS)
    assert (found.metric, found.region, found.method, found.op, found.baseline, found.offset) == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("psnr >= 3", "is not like"),
        ("psnr[ct, FBP] = 3", "is not like"),
        ("psnr[ct, FBP] >= FBP + x", "is not like"),
        ("__import__('os')[ct, FBP] >= 1", "is not like"),
        ("dice[ct, FBP] >= 1", "'dice' is not one of psnr, ssim"),
        ("psnr.lesion[ct, FBP] >= 1", "region 'lesion'"),
        ("psnr[mri] >= 1", "task 'mri' is not evaluated here; kspace_mr_single_4x, ct is"),
        ("psnr[ct] >= 1", "not evaluated with 'medinr', but with FBP"),
        ("psnr[ct, FBP] >= bm3d", "not evaluated with 'bm3d'"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match="--require") as error:
        parse_requirement(text, METHODS)
    assert words in str(error.value)


@pytest.fixture(scope="module")
def table(synthetic_results, tmp_path_factory):
    # Noise of 10, 5 and 3 % of the range: 20, 26.0 and 30.5 dB for the first patient.
    return synthetic_results(tmp_path_factory.mktemp("claims"), tasks=("kspace_mr_single_4x",)).table


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("psnr[kspace_mr_single_4x] >= TV + 4.0", True),
        ("psnr[kspace_mr_single_4x] >= TV + 5.0", False),
        ("psnr[kspace_mr_single_4x, TV] < medinr", True),
        ("psnr[kspace_mr_single_4x, TV] > medinr - 5", True),
        ("psnr[kspace_mr_single_4x] > 28", True),
        ("nrmse[kspace_mr_single_4x] <= 0.001", False),
        ("seconds[kspace_mr_single_4x] <= 2", True),
        ("seconds[kspace_mr_single_4x] <= TV", False),
    ],
)
def test_claims_are_held_against_the_numbers(table, text: str, held: bool) -> None:
    verdict = judge(parse_requirement(text, METHODS), table)
    assert verdict.held is held
    assert verdict.words.startswith(f"{text}: {'holds' if held else 'falls short'}, ")


def test_the_numbers_are_named_and_none_hold_nothing(table) -> None:
    words = judge(parse_requirement("psnr[kspace_mr_single_4x] >= TV + 5.0", METHODS), table).words
    assert "difference 4.539 (95 % 4.339 to 4.739" in words
    assert "4 patients" in words
    empty = judge(parse_requirement("psnr[kspace_mr_single_4x, plug-and-play] >= 0", METHODS), table)
    assert not empty.held
    assert not judge(parse_requirement("psnr[kspace_mr_single_4x] >= plug-and-play", METHODS), table).held
