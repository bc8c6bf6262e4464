import hashlib
import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from medinr.errors import CheckpointError
from medinr.models.card import ModelCard
from medinr.models.checkpoint import (
    FORMAT,
    find_model,
    load_model,
    load_model_for,
    read_card,
    save_model,
    shipped_models,
)
from medinr.models.model import RANDOM, RANDOM_LENGTH_SCALE, Model
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser, with_auxiliary_channels
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.priors.guided_filter import AUXILIARY_CHANNELS
from medinr.tensors import read_tensors

ARCHITECTURE = TrunkSettings(width=8, depth=2, omega=12.0)
DENOISER = DenoiserSettings(channels=3, layers=3)

CARD = ModelCard(
    name="tiny",
    modality="MR",
    unit="magnitude over its 99th percentile",
    length_scale=57.6,
    grid_shape=(16, 24),
    grid_spacing=(1.5, 1.5),
    architecture=asdict(ARCHITECTURE),
    prior=DENOISER,
    subjects=("s1", "s2"),
    scan_hashes=("a" * 64, "b" * 64),
    scans=("s1 T1 slice 3",),
    licences=("CC0",),
    settings={"steps": 3, "nested": {"rate": 0.5}},
    results={"psnr": [30.0, 31.5]},
    medinr_version="0.1.0",
)


def _model(seed: int = 0, card: ModelCard = CARD, magnitudes: bool = False) -> Model:
    generator = torch.Generator().manual_seed(seed)
    prior = None
    if card.prior is not None:
        prior = DenoiserPrior(LocalDenoiser(card.prior, generator))
        if magnitudes:
            prior = replace(prior, magnitude_denoiser=LocalDenoiser(card.prior, generator))
    return Model.of(Trunk(card.trunk_settings, generator), prior, card)


@pytest.fixture
def path(tmp_path) -> Path:
    save_model(tmp_path / "new" / "tiny.safetensors", _model())
    return tmp_path / "new" / "tiny.safetensors"


def _edit_card(path: Path, **values) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | values))


def _rehash(path: Path) -> None:
    _edit_card(path, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    left, right = first.state_dict(), second.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_trunk_and_prior_come_back_bit_for_bit(path):
    loaded, saved = load_model(path), _model()
    assert loaded.card == CARD
    assert _same(loaded.trunk, saved.trunk)
    assert _same(loaded.prior.denoiser, saved.prior.denoiser)
    assert loaded.prior.magnitude_denoiser is None
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_a_denoiser_for_magnitudes_comes_back_too(tmp_path):
    saved = _model(magnitudes=True)
    save_model(tmp_path / "tiny.safetensors", saved)
    loaded = load_model(tmp_path / "tiny.safetensors").prior
    assert _same(loaded.denoiser, saved.prior.denoiser)
    assert _same(loaded.magnitude_denoiser, saved.prior.magnitude_denoiser)
    assert not _same(loaded.magnitude_denoiser, loaded.denoiser)


def test_an_auxiliary_input_denoiser_comes_back_too(tmp_path):
    plain = _model(magnitudes=True)
    auxiliary_denoiser = with_auxiliary_channels(
        plain.prior.denoiser, AUXILIARY_CHANNELS, torch.Generator().manual_seed(1)
    )
    saved = replace(plain, prior=replace(plain.prior, auxiliary_denoiser=auxiliary_denoiser))
    save_model(tmp_path / "tiny.safetensors", saved)
    loaded = load_model(tmp_path / "tiny.safetensors")
    assert loaded.card == CARD
    for part in ("denoiser", "magnitude_denoiser", "auxiliary_denoiser"):
        assert _same(getattr(loaded.prior, part), getattr(saved.prior, part))
    assert loaded.prior.auxiliary_denoiser.settings == replace(DENOISER, auxiliary_channels=2)
    save_model(tmp_path / "plain.safetensors", plain)
    assert load_model(tmp_path / "plain.safetensors").prior.auxiliary_denoiser is None


def test_cards_that_name_no_auxiliary_channels_are_read(path):
    card = json.loads(path.with_suffix(".json").read_text())
    del card["prior"]["auxiliary_channels"]
    _edit_card(path, prior=card["prior"])
    assert load_model(path).card == CARD


def test_a_model_without_a_prior(tmp_path):
    card = replace(CARD, prior=None)
    save_model(tmp_path / "bare.safetensors", _model(card=card))
    loaded = load_model(tmp_path / "bare.safetensors")
    assert loaded.prior is None
    assert loaded.card == card


def test_saving_again_replaces_both_files(path):
    other = _model(5, replace(CARD, name="other"))
    save_model(path, other)
    loaded = load_model(path)
    assert loaded.card.name == "other"
    assert _same(loaded.trunk, other.trunk)


def test_changed_weights_are_noticed(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors is not the file its card describes"):
        load_model(path)


def test_card_of_another_model_is_noticed(path, tmp_path):
    other = tmp_path / "other.safetensors"
    save_model(other, _model(8))
    other.with_suffix(".json").replace(path.with_suffix(".json"))
    with pytest.raises(CheckpointError, match="another SHA-256"):
        load_model(path)


def test_missing_card(path):
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match=r"no card tiny\.json beside it. Keep the two files together"):
        load_model(path)


@pytest.mark.parametrize("keep", [0, 4, 60, -3])
def test_truncated_weights(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="another SHA-256"):
        load_model(path)
    _rehash(path)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_model(path)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_pickle_is_refused_and_not_run(path, tmp_path):
    mark = tmp_path / "ran"
    path.write_bytes(pickle.dumps(_Bomb(mark)))
    _rehash(path)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_model(path)
    torch.save({"trunk.weights.0": torch.zeros(2)}, path)
    _rehash(path)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_model(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '"model"', "null", "{}", f'{{"format": "{FORMAT}", "weights_sha256": ""}}', "\x00\x01"],
)
def test_a_card_that_is_none(path, text):
    path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match=r"tiny\.json is not a model's card .*Train the model again"):
        load_model(path)


def test_card_of_another_format_or_with_another_key(path):
    _edit_card(path, odd_key=1)
    with pytest.raises(CheckpointError, match="odd_key"):
        read_card(path)
    _edit_card(path, format="medinr-model-99")
    with pytest.raises(CheckpointError, match="not of format medinr-model-1"):
        read_card(path)


@pytest.mark.parametrize(
    "values",
    [
        {"architecture": {"inputs": 2, "width": 9, "depth": 2, "omega": 12.0}},
        {"prior": {"channels": 4, "layers": 3}},
        {"prior": {"channels": 3, "layers": 5}},
    ],
)
def test_weights_that_do_not_fit_the_card(path, values):
    _edit_card(path, **values)
    with pytest.raises(CheckpointError, match="does not fit the architecture on its card"):
        # The trunk is built when it is first wanted, and a misfit is found then.
        load_model(path).trunk  # noqa: B018
    if "architecture" in values:
        assert _same(load_model(path).prior.denoiser, _model().prior.denoiser)


def test_unknown_model_names_the_shipped_ones_and_the_way_to_make_one():
    with pytest.raises(CheckpointError, match=r"No model 'brain_rm'.*brain_mr.*medinr pretrain"):
        find_model("brain_rm")


def test_shipped_models_load_and_were_trained_on_what_their_card_says():
    for name, path in shipped_models().items():
        model = load_model(name)
        card = model.card
        assert find_model(name) == path
        assert card.name == name
        assert all(len(digest) == 64 for digest in card.scan_hashes)
        assert card.subjects
        assert all(label.split()[0] in card.subjects for label in card.scans)
        assert all(bool(value.isfinite().all()) for value in model.trunk.state_dict().values())


def test_weights_are_named_by_the_part_they_belong_to(tmp_path):
    plain = _model(magnitudes=True)
    auxiliary_denoiser = with_auxiliary_channels(
        plain.prior.denoiser, AUXILIARY_CHANNELS, torch.Generator().manual_seed(1)
    )
    model = Model.of(plain.trunk, replace(plain.prior, auxiliary_denoiser=auxiliary_denoiser), CARD)
    save_model(tmp_path / "tiny.safetensors", model)
    tensors, facts = read_tensors(tmp_path / "tiny.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"denoiser", "magnitude_denoiser", "auxiliary_denoiser", "trunk"}
    assert facts["format"] == FORMAT == "medinr-model-1"
    save_model(tmp_path / "bare.safetensors", _model(card=replace(CARD, prior=None)))
    assert {name.split(".")[0] for name in read_tensors(tmp_path / "bare.safetensors")[0]} == {"trunk"}


def test_the_trunk_is_built_once_and_not_before_it_is_wanted(path):
    built = []

    def make() -> Trunk:
        built.append(1)
        return Trunk(ARCHITECTURE, torch.Generator().manual_seed(0))

    model = Model(None, CARD, CARD.length_scale, make)
    assert built == []
    assert model.trunk is model.trunk
    assert built == [1]
    loaded = load_model(path)
    assert "trunk" not in vars(loaded)
    assert loaded.trunk is loaded.trunk
    assert loaded.length_scale == 57.6


def test_random_weights_are_a_control_without_card_and_prior(tmp_path):
    model, again = load_model(RANDOM), load_model("random")
    assert model.card is None
    assert model.prior is None
    assert model.length_scale == RANDOM_LENGTH_SCALE
    assert _same(model.trunk, again.trunk)
    assert repr(model) == "Model with random weights"
    with pytest.raises(CheckpointError, match="no card and is not written"):
        save_model(tmp_path / "random.safetensors", model)
    assert not list(tmp_path.iterdir())


def test_a_model_of_another_modality_is_refused(path):
    assert load_model_for(path, "MR").card == CARD
    assert load_model_for(RANDOM, "CT").card is None
    with pytest.raises(CheckpointError, match=r"'tiny' was trained on MR scans; this scan is CT.*--model"):
        load_model_for(path, "CT")


def test_an_architecture_that_is_none_is_named(path):
    _edit_card(path, architecture={"width": 8, "depths": 2})
    model = load_model(path)
    with pytest.raises(CheckpointError, match=r"card of tiny .*depths"):
        model.trunk  # noqa: B018
    assert CARD.trunk_settings == ARCHITECTURE


def test_a_model_says_what_it_is():
    assert repr(_model()).startswith("Model tiny: MR, 2 training subjects")
    assert "no denoiser" in repr(_model(card=replace(CARD, prior=None)))
