from dataclasses import dataclass, field

import pytest

from medinr.config import EvaluateConfig, PretrainConfig, ReconstructConfig, load_config, parse
from medinr.config.protocol import load_task
from medinr.config.shipped import find_config, find_manifest, shipped
from medinr.errors import ConfigError, ManifestError

MINIMAL = "task: kspace\ntrunk: random\n"


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
    return load_config(ReconstructConfig, _write(tmp_path, text), overrides)


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
    with pytest.raises(ConfigError, match=r"mine\.yaml: task 'xray' is not one of denoise"):
        _load(tmp_path, "task: xray\ntrunk: random\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: fit: optimiser: Optimiser 'sgd' is not one of muon, adam"):
        _load(tmp_path, MINIMAL + "fit: {optimiser: {kind: sgd}}\n")
    for key in ("joint", "stack"):
        with pytest.raises(ConfigError, match=rf"mine\.yaml: {key} 'perhaps' is not one of auto, never, always"):
            _load(tmp_path, MINIMAL + f"{key}: perhaps\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: simulation: .*photons positive"):
        _load(tmp_path, MINIMAL + "simulation: {photons: 0}\n")


def test_set_wins_over_the_file_and_reaches_deep(tmp_path):
    text = MINIMAL + "fit:\n  steps: 7\n  seed: 3\n"
    found = _load(tmp_path, text, "fit.steps=9", "fit.stopping.held_out=0.1", "trunk=other", "peer.tv_weight=0")
    assert (found.fit.steps, found.fit.seed, found.fit.stopping.held_out) == (9, 3, 0.1)
    assert (found.trunk, found.peer.tv_weight) == ("other", 0.0)
    assert _load(tmp_path, text, "fit.steps=1", "fit.steps=2").fit.steps == 2
    assert load_config(EvaluateConfig, "evaluate", ["tasks=[ct]", "slices=1"]).tasks == ("ct",)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fit.steps", "--set wants KEY=VALUE; got 'fit.steps'"),
        ("fit.step=3", "unknown key 'step'. Did you mean 'steps'"),
        ("task.name=3", "--set task.name=3: task is a single value and has no keys below it"),
        ("fit.steps=many", "steps wants int; got 'many'"),
        ("fit.steps=[", r"--set fit.steps=\[: the value is not valid YAML"),
        ("fit.steps=!!python/name:os.system", "--set fit.steps=.*not valid YAML"),
        ("fit=", "fit wants keys below it; got None"),
        ("=3", "unknown key ''"),
    ],
)
def test_a_wrong_set_is_explained(tmp_path, override, words):
    with pytest.raises(ConfigError, match=words):
        _load(tmp_path, MINIMAL, override)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: [", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("- task", "holds a list; a configuration is a mapping"),
        ("just words", "holds a str"),
        ("", "missing keys task, trunk"),
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
        load_config(ReconstructConfig, path)


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
        _load(tmp_path, f"task: {tag.format(target=target)}\ntrunk: random\n")
    assert not target.exists()


def test_missing_file_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"No configuration 'kspcae'.*ct, denoise.*kspace.*published_recipe"):
        load_config(ReconstructConfig, "kspcae")
    with pytest.raises(ManifestError, match=r"No manifest 'nowhere.csv'.*development.*excerpts"):
        find_manifest("nowhere.csv")


def test_relative_names_start_from_the_folder_given_first(tmp_path):
    near = _write(tmp_path, MINIMAL, "kspace")
    assert find_config("kspace", tmp_path) == near
    assert find_config("kspace") == shipped("medinr.configs", "*.yaml")["kspace"]


def _class_of(name):
    return (
        EvaluateConfig if name == "evaluate" else PretrainConfig if name.startswith("pretrain") else ReconstructConfig
    )


@pytest.mark.parametrize("name", sorted(shipped("medinr.configs", "*.yaml")))
def test_every_shipped_configuration_loads(name):
    config = load_config(_class_of(name), name)
    if isinstance(config, PretrainConfig):
        assert find_manifest(config.manifest).is_file()
        assert name == f"pretrain_{config.name}"
    elif isinstance(config, EvaluateConfig):
        assert [load_task(task).name for task in config.tasks] == list(config.tasks)
    else:
        assert config.task in ("denoise", "superres", "kspace", "ct")


def test_the_published_recipe_is_as_published():
    fit = load_config(ReconstructConfig, "published_recipe").fit
    assert (fit.head, fit.head_every, fit.steps, fit.tv_weight) == ("random", 0, 2000, 0.0)
    assert (fit.imitation.passes, fit.finish, fit.stopping.held_out) == (0, 0, 0.0)
    optimiser = fit.optimiser
    assert (optimiser.kind, optimiser.adam_rate, optimiser.schedule, optimiser.warmup) == ("adam", 1e-4, "constant", 0)
