import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medinr.errors import CheckpointError
from medinr.inr.network import Trunk, TrunkSettings
from medinr.prior.denoiser import DenoiserSettings, LocalDenoiser, listening
from medinr.prior.local import LocalPrior
from medinr.prior.straight_lines import HINTS
from medinr.trunks.checkpoint import (
    Checkpoint,
    TrunkCard,
    find_trunk,
    load_checkpoint,
    read_card,
    save_checkpoint,
    shipped_trunks,
)

ARCHITECTURE = TrunkSettings(width=8, depth=2, omega=12.0)
DENOISER = DenoiserSettings(channels=3, layers=3)

CARD = TrunkCard(
    name="tiny",
    modality="MR",
    unit="magnitude over its 99th percentile",
    length_scale=57.6,
    grid_shape=(16, 24),
    grid_spacing=(1.5, 1.5),
    architecture=ARCHITECTURE,
    prior=DENOISER,
    subjects=("s1", "s2"),
    scan_hashes=("a" * 64, "b" * 64),
    scans=("s1 T1 slice 3",),
    licences=("CC0",),
    settings={"steps": 3, "nested": {"rate": 0.5}},
    results={"psnr": [30.0, 31.5]},
    medinr_version="0.1.0",
)


def _checkpoint(seed: int = 0, card: TrunkCard = CARD, magnitudes: bool = False) -> Checkpoint:
    generator = torch.Generator().manual_seed(seed)
    prior = None
    if card.prior is not None:
        prior = LocalPrior(LocalDenoiser(card.prior, generator))
        if magnitudes:
            prior = replace(prior, on_magnitudes=LocalDenoiser(card.prior, generator))
    return Checkpoint(Trunk(card.architecture, generator), prior, card)


@pytest.fixture
def path(tmp_path) -> Path:
    save_checkpoint(tmp_path / "new" / "tiny.safetensors", _checkpoint())
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
    loaded, saved = load_checkpoint(path), _checkpoint()
    assert loaded.card == CARD
    assert _same(loaded.trunk, saved.trunk)
    assert _same(loaded.prior.denoiser, saved.prior.denoiser)
    assert loaded.prior.on_magnitudes is None
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_a_denoiser_for_magnitudes_comes_back_too(tmp_path):
    saved = _checkpoint(magnitudes=True)
    save_checkpoint(tmp_path / "tiny.safetensors", saved)
    loaded = load_checkpoint(tmp_path / "tiny.safetensors").prior
    assert _same(loaded.denoiser, saved.prior.denoiser)
    assert _same(loaded.on_magnitudes, saved.prior.on_magnitudes)
    assert not _same(loaded.on_magnitudes, loaded.denoiser)


def test_a_denoiser_that_listens_comes_back_too(tmp_path):
    plain = _checkpoint(magnitudes=True)
    listener = listening(plain.prior.denoiser, HINTS, torch.Generator().manual_seed(1))
    saved = replace(plain, prior=replace(plain.prior, listener=listener))
    save_checkpoint(tmp_path / "tiny.safetensors", saved)
    checkpoint = load_checkpoint(tmp_path / "tiny.safetensors")
    assert checkpoint.card == CARD
    for part in ("denoiser", "on_magnitudes", "listener"):
        assert _same(getattr(checkpoint.prior, part), getattr(saved.prior, part))
    assert checkpoint.prior.listener.settings == replace(DENOISER, hints=2)
    save_checkpoint(tmp_path / "plain.safetensors", plain)
    assert load_checkpoint(tmp_path / "plain.safetensors").prior.listener is None


def test_cards_from_before_there_were_hints_are_read(path):
    card = json.loads(path.with_suffix(".json").read_text())
    del card["prior"]["hints"]
    _edit_card(path, prior=card["prior"])
    assert load_checkpoint(path).card == CARD


def test_a_trunk_without_a_prior(tmp_path):
    card = replace(CARD, prior=None)
    save_checkpoint(tmp_path / "bare.safetensors", _checkpoint(card=card))
    loaded = load_checkpoint(tmp_path / "bare.safetensors")
    assert loaded.prior is None
    assert loaded.card == card


def test_saving_again_replaces_both_files(path):
    other = _checkpoint(5, replace(CARD, name="other"))
    save_checkpoint(path, other)
    loaded = load_checkpoint(path)
    assert loaded.card.name == "other"
    assert _same(loaded.trunk, other.trunk)


def test_changed_weights_are_noticed(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors is not the file its card describes"):
        load_checkpoint(path)


def test_card_of_another_trunk_is_noticed(path, tmp_path):
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, _checkpoint(8))
    other.with_suffix(".json").replace(path.with_suffix(".json"))
    with pytest.raises(CheckpointError, match="another SHA-256"):
        load_checkpoint(path)


def test_missing_card(path):
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match=r"no card tiny\.json beside it. Keep the two files together"):
        load_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 4, 60, -3])
def test_truncated_weights(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="another SHA-256"):
        load_checkpoint(path)
    _rehash(path)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_checkpoint(path)


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
        load_checkpoint(path)
    torch.save({"trunk.weights.0": torch.zeros(2)}, path)
    _rehash(path)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '"trunk"', "null", "{}", '{"format": "medinr-trunk-2", "weights_sha256": ""}', "\x00\x01"],
)
def test_a_card_that_is_none(path, text):
    path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match=r"tiny\.json is not a trunk card .*Train the trunk again"):
        load_checkpoint(path)


def test_card_of_another_format_or_with_another_key(path):
    _edit_card(path, surprise=1)
    with pytest.raises(CheckpointError, match="surprise"):
        read_card(path)
    _edit_card(path, format="medinr-trunk-99")
    with pytest.raises(CheckpointError, match="medinr-trunk-2"):
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
        load_checkpoint(path)


def test_unknown_trunk_names_the_shipped_ones_and_the_way_to_make_one():
    with pytest.raises(CheckpointError, match=r"No trunk 'brain_rm'.*brain_mr.*medinr pretrain"):
        find_trunk("brain_rm")


def test_shipped_trunks_load_and_were_trained_on_what_their_card_says():
    for name, path in shipped_trunks().items():
        checkpoint = load_checkpoint(name)
        card = checkpoint.card
        assert find_trunk(name) == path
        assert card.name == name
        assert all(len(digest) == 64 for digest in card.scan_hashes)
        assert card.subjects
        assert all(label.split()[0] in card.subjects for label in card.scans)
        assert all(bool(value.isfinite().all()) for value in checkpoint.trunk.state_dict().values())
