from dataclasses import dataclass, field

import pytest

from medinr.config import EvaluateConfig, load_config, load_task_config, parse
from medinr.config.pretrain import PretrainConfig
from medinr.config.protocol import load_task
from medinr.config.schema import BaselineSettings, ReconstructConfig
from medinr.config.shipped import find_config, find_manifest, shipped
from medinr.config.task import network_settings
from medinr.errors import ConfigError, ManifestError

MINIMAL = "task: kspace\nmodel: random\n"
TASKS = ("denoise", "superres", "kspace", "ct")
WITH_NETWORK = MINIMAL + "method: inr\n"


@dataclass(frozen=True)
class _Inner:
    rate: float = 0.5
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Outer:
    count: int
    pair: tuple[int, int] = (1, 2)
    flag: bool = False
    level: float | None = None
    inner: _Inner = field(default_factory=_Inner)


def _write(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def _load(tmp_path, text, *overrides):
    return load_task_config(_write(tmp_path, text), overrides)


def test_every_key_lands_in_its_field():
    found = parse(
        _Outer,
        {"count": 3, "pair": [4, 5], "flag": True, "level": None, "inner": {"rate": 1, "names": ["a", "b"]}},
        "here",
    )
    assert found == _Outer(3, (4, 5), True, None, _Inner(1.0, ("a", "b")))
    assert isinstance(found.inner.rate, float)
    assert parse(_Outer, {"count": 1}, "here") == _Outer(1)


def test_numbers_that_yaml_reads_as_text_are_numbers():
    assert parse(_Inner, {"rate": "1e5"}, "here").rate == 1e5
    assert parse(_Outer, {"count": 1, "level": "2.5e-3"}, "here").level == 2.5e-3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 1.5}, r"here: count wants int; got 1\.5"),
        ({"count": True}, "here: count wants int; got True"),
        ({"count": "many"}, "here: count wants int; got 'many'"),
        ({"count": None}, "here: count wants int; got None"),
        ({"count": 1, "flag": 1}, "here: flag wants bool; got 1"),
        ({"count": 1, "pair": [1]}, r"here: pair wants 2 values; got \[1\]"),
        ({"count": 1, "pair": "ab"}, "here: pair wants a list; got 'ab'"),
        ({"count": 1, "inner": 3}, "here: inner wants keys below it; got 3"),
        ({"count": 1, "inner": {"rate": "fast"}}, "here: inner: rate wants float; got 'fast'"),
        ({"count": 1, "inner": {"rate": float("nan")}}, "here: inner: rate wants a finite number; got nan"),
        ({"count": 1, "level": "inf"}, "here: level wants a finite number; got inf"),
        ({"count": 1, "inner": {"names": [1]}}, "here: inner: names wants str; got 1"),
        ({}, "here: missing key count"),
        ({"cuont": 1}, "here: unknown key 'cuont'. Did you mean 'count'?"),
        ({"count": 1, "inner": {"rat": 1}}, "here: inner: unknown key 'rat'. Did you mean 'rate'?"),
        ({"zzz": 1}, "here: unknown key 'zzz'. Known keys: count, flag, inner, level, pair."),
        ({3: 1}, "here: unknown key 3"),
    ],
)
def test_wrong_values_are_named_with_what_was_wanted(values, words):
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        parse(_Outer, values, "here")


def test_errors_of_the_settings_say_where(tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.yaml: Task 'xray' is not one of .*denoise"):
        _load(tmp_path, "task: xray\nmodel: random\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: network: optimiser: Optimiser 'sgd' is not one of muon, adam"):
        _load(tmp_path, WITH_NETWORK + "network: {optimiser: {kind: sgd}}\n")
    with pytest.raises(
        ConfigError, match=r"mine\.yaml: network: shared_trunk 'perhaps' is not one of auto, never, always"
    ):
        _load(tmp_path, WITH_NETWORK + "network: {shared_trunk: perhaps}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: multi_slice 'perhaps' is not one of auto, never, always"):
        _load(tmp_path, MINIMAL + "multi_slice: perhaps\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: simulation: .*photons positive"):
        _load(tmp_path, "task: ct\nmodel: random\nsimulation: {photons: 0}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: baselines: .*cannot be negative"):
        _load(tmp_path, MINIMAL + "baselines: {unet_steps: -1}\n")


def test_every_task_has_a_simulation_of_its_own(tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.yaml: simulation: unknown key 'photons'\. Known keys: acceleration"):
        _load(tmp_path, MINIMAL + "simulation: {photons: 1e4}\n")
    with pytest.raises(ConfigError, match="simulation is a ProjectionSimulation; task kspace has KspaceSimulation"):
        ReconstructConfig("kspace", "random", simulation=load_task_config("ct").simulation)


def test_set_wins_over_the_file_and_reaches_deep(tmp_path):
    text = WITH_NETWORK + "seed: 3\nnetwork:\n  steps: 7\n"
    changes = ("network.steps=9", "network.stopping.held_out=0.1", "model=other", "total_variation.weight=0")
    found = _load(tmp_path, text, *changes)
    assert (found.network.steps, found.seed, found.network.stopping.held_out) == (9, 3, 0.1)
    assert (found.model, found.total_variation.weight) == ("other", 0.0)
    assert _load(tmp_path, text, "network.steps=1", "network.steps=2").network.steps == 2
    assert load_config(EvaluateConfig, "evaluate", ["tasks=[ct]", "slices=1"]).tasks == ("ct",)


def test_settings_of_three_files_meet_in_the_fit(tmp_path):
    text = WITH_NETWORK + "seed: 3\nplug_and_play: {iterations: 5}\n"
    fit = _load(tmp_path, text, "network.tv_weight=2").fit
    assert (fit.seed, fit.plug_and_play.iterations, fit.tv_weight) == (3, 5, 2.0)
    # What nobody changed is what network.yaml says.
    assert fit.image_domain == network_settings("inr", "kspace").image_domain
    assert (fit.image_domain.passes, fit.refinement_iterations) == (8.0, 8)
    assert load_task_config("denoise", method="inr").fit.refinement_iterations == 16


def test_method_and_model_of_the_command_win_over_the_file(tmp_path):
    path = _write(tmp_path, MINIMAL)
    assert (load_task_config(path).method, load_task_config(path).network) == ("plug-and-play", None)
    found = load_task_config(path, method="INR", model="mine.safetensors")
    assert (found.method, found.model, found.network) == ("INR", "mine.safetensors", network_settings("inr", "kspace"))


def test_settings_of_a_network_want_a_method_that_fits_one(tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.yaml: .*plug-and-play fits none.*--method inr, --method strainer"):
        _load(tmp_path, MINIMAL, "network.steps=3")
    with pytest.raises(ConfigError, match="Method plug-and-play fits no network"):
        _ = _load(tmp_path, MINIMAL).fit


def test_baselines_differ_by_task_and_a_task_may_say_otherwise(tmp_path):
    assert load_task_config("ct").baselines.tgv_weight == 2.0
    assert load_task_config("kspace").baselines.tgv_weight == 0.35
    found = _load(tmp_path, MINIMAL + "baselines: {tgv_weight: 0.5}\n").baselines
    assert (found.tgv_weight, found.wavelet_weight) == (0.5, load_task_config("kspace").baselines.wavelet_weight)
    assert isinstance(found, BaselineSettings)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("network.steps", "--set wants KEY=VALUE; got 'network.steps'"),
        ("network.step=3", "unknown key 'step'. Did you mean 'steps'"),
        ("plug_and_play.iteration=3", "unknown key 'iteration'. Did you mean 'iterations'"),
        ("task.name=3", "--set task.name=3: task is a single value and has no keys below it"),
        ("network.steps=many", "steps wants int; got 'many'"),
        ("network.steps=[", r"--set network.steps=\[: the value is not valid YAML"),
        ("network.steps=!!python/name:os.system", "--set network.steps=.*not valid YAML"),
        ("network=", "network wants keys below it; got None"),
        ("network=3", "network wants keys below it; got 3"),
        ("plug_and_play=", "plug_and_play wants keys below it; got None"),
        ("simulation=", "simulation wants keys below it; got None"),
        ("baselines=", "baselines wants keys below it; got None"),
        ("=3", "unknown key ''"),
    ],
)
def test_a_wrong_set_is_explained(tmp_path, override, words):
    with pytest.raises(ConfigError, match=words):
        _load(tmp_path, WITH_NETWORK, override)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: [", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("- task", "holds a list; a configuration is a mapping"),
        ("just words", "holds a str"),
        ("", "missing keys task, model"),
        ("task: ct\ttrunk: x\n  y: z", "not valid YAML"),
    ],
)
def test_broken_files(tmp_path, text, words):
    with pytest.raises(ConfigError, match=rf"mine\.yaml.*{words}") as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match=r"mine\.yaml is not valid YAML"):
        load_task_config(path)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir [{target}]",
        "!!python/object/new:os.mkdir [{target}]",
        "!!python/name:os.system",
        "!!python/object:medinr.errors.MedinrError {{}}",
    ],
)
def test_python_tags_are_refused_and_not_run(tmp_path, tag):
    target = tmp_path / "made"
    with pytest.raises(ConfigError, match=r"not valid YAML.*python"):
        _load(tmp_path, f"task: {tag.format(target=target)}\nmodel: random\n")
    assert not target.exists()


def test_missing_file_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"No configuration 'kspcae'.*ct, denoise.*kspace.*superres"):
        load_task_config("kspcae")
    with pytest.raises(ManifestError, match=r"No manifest 'nowhere.csv'.*development.*excerpts"):
        find_manifest("nowhere.csv")


def test_relative_names_start_from_the_folder_given_first(tmp_path):
    near = _write(tmp_path, MINIMAL, "kspace")
    assert find_config("kspace", tmp_path) == near
    assert find_config("kspace") == shipped("medinr.configs", "*.yaml")["kspace"]


@pytest.mark.parametrize("name", sorted(shipped("medinr.configs", "*.yaml")))
def test_every_shipped_configuration_loads(name):
    if name == "network":
        for method in ("inr", "strainer"):
            for task in TASKS:
                assert network_settings(method, task) == load_task_config(task, method=method).network
    elif name == "baselines":
        assert len({load_task_config(task).baselines for task in TASKS}) == len(TASKS)
    elif name == "evaluate":
        config = load_config(EvaluateConfig, name)
        assert [load_task(task).name for task in config.tasks] == list(config.tasks)
    elif name.startswith("pretrain"):
        config = load_config(PretrainConfig, name)
        assert find_manifest(config.manifest).is_file()
        assert name == f"pretrain_{config.name}"
    else:
        config = load_task_config(name)
        assert config.task == name
        assert config.task in (*TASKS, "acquired", "acquired_ct", "acquired_repeats", "acquired_thick")
        assert config.method == "plug-and-play"


def test_the_published_recipe_is_as_published():
    fit = load_task_config("kspace", method="strainer").fit
    assert (fit.head, fit.head_every, fit.steps, fit.tv_weight) == ("random", 0, 2000, 0.0)
    assert (fit.image_domain.passes, fit.refinement_iterations, fit.stopping.held_out) == (0, 0, 0.0)
    optimiser = fit.optimiser
    assert (optimiser.kind, optimiser.adam_rate, optimiser.schedule, optimiser.warmup) == ("adam", 1e-4, "constant", 0)


def test_a_file_in_the_present_folder_is_no_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("network", "baselines"):
        (tmp_path / name).write_text("nonsense: [")
    assert load_task_config("kspace", method="inr").network is not None
