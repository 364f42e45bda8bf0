"""A trained system is built from its file alone, and a file can build nothing else."""

import json
import time

import pytest
import safetensors.torch
import torch
from torch import nn

from labkit import checkpoint, model_file, zoo
from labkit.data import digits
from labkit.data.openml import SETS
from labkit.systems.cascade import Cascade
from labkit.systems.glide import GLIDE
from labkit.systems.sdg import SDG
from tests.systems.test_cascade import SMALL
from tests.systems.test_glide import UPSAMPLES


@pytest.mark.parametrize("name", sorted(file.stem for file in zoo.WEIGHTS.glob("*.safetensors")))
def test_a_shipped_system_is_built_from_its_file_alone(name):
    made, path = zoo.recipe(name), zoo.WEIGHTS / f"{name}.safetensors"
    system, known = zoo.load(path=path), zoo.load(name)
    assert type(system) is made.system and system.config == made.config and not system.training
    for key, tensor in known.state_dict().items():
        assert torch.equal(system.state_dict()[key], tensor)


def test_every_system_of_a_recipe_can_be_found_by_its_name():
    made = {recipe.system.__name__ for recipe in zoo.RECIPES.values()}
    assert made <= model_file.SYSTEMS.keys()
    for name in model_file.SYSTEMS:
        assert issubclass(model_file.class_named(name), nn.Module)


def test_weights_know_what_their_classes_are_called(tmp_path):
    assert zoo.load("adm-digits").names == tuple("0123456789")
    assert zoo.load("adm-cifar10").names == SETS["cifar10"].names
    assert not hasattr(zoo.load("ddpm-digits"), "names")
    classifier = zoo.load("classifier-digits")
    x, labels = digits.load(16, "test")
    with torch.no_grad():
        said = [classifier.names[row] for row in classifier(x[:50]).argmax(1)]
    assert sum(word == str(label) for word, label in zip(said, labels.tolist())) > 45
    classifier.names = tuple("abcdefghij")
    model_file.save(tmp_path / "a", classifier)
    assert model_file.load(tmp_path / "a").names == tuple("abcdefghij")


def test_loading_leaves_everybodys_random_numbers_alone():
    before = torch.get_rng_state()
    zoo.load("classifier-digits")
    zoo.load(path=zoo.WEIGHTS / "classifier-digits.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "kind", ["Linear", "torch.nn.Linear", "os.system", "labkit.cli.main", "Recipe", "", None, 3, []]
)
def test_a_file_can_name_no_class_but_those_of_labkit(kind, tmp_path):
    path = tmp_path / "a.safetensors"
    about = {"system": kind, "config": {"in_features": 2, "out_features": 2}}
    safetensors.torch.save_file(
        nn.Linear(2, 2).state_dict(), path, metadata={"labkit": json.dumps(about)}
    )
    with pytest.raises(ValueError, match="not a trained system of labkit's"):
        model_file.load(path)


@pytest.mark.parametrize("config", [{}, {"width": 1}, {"size": "big"}, {"widths": 3}, None, [1]])
def test_a_configuration_that_cannot_be_built_is_a_sentence_with_the_files_name(config, tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"x": torch.ones(1)}, {"system": "Classifier", "config": config})
    with pytest.raises(ValueError, match=r"a\.safetensors .*configuration") as caught:
        model_file.load(path)
    assert "\n" not in str(caught.value)


def test_a_system_of_ones_own_is_refused_when_it_is_saved_not_when_it_is_missed(tmp_path):
    class Classifier(nn.Linear):
        config = None

    with pytest.raises(ValueError, match="could not be built again"):
        model_file.save(tmp_path / "a", Classifier(1, 1))
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_not_finished_is_no_model(tmp_path):
    checkpoint.save(tmp_path / "a", {}, {"run": {}, "step": 1})
    with pytest.raises(ValueError, match="a run that is not finished"):
        model_file.load(tmp_path / "a")


def test_what_is_saved_of_a_compiled_or_half_precise_system_is_the_system(tmp_path):
    plain = zoo.load("classifier-digits")
    compiled = zoo.load("classifier-digits")
    compiled.convs[0] = torch.compile(compiled.convs[0], backend="eager")
    model_file.save(tmp_path / "a", compiled)
    model_file.save(tmp_path / "b", zoo.load("classifier-digits").bfloat16())
    for name, dtype in (("a", torch.float32), ("b", torch.bfloat16)):
        back = model_file.load(tmp_path / name).state_dict()
        for key, tensor in plain.state_dict().items():
            assert torch.equal(back[key], tensor.to(dtype).float()), key


def strange(tmp_path, change, about=None):
    """A file of the shipped model of digits in which a stranger has changed the configuration."""
    tensors, said = checkpoint.load(zoo.WEIGHTS / "ddpm-digits.safetensors")
    config = said["config"] | {"net": said["config"]["net"] | change}
    checkpoint.save(tmp_path / "a", tensors, said | {"config": config} | (about or {}))
    return tmp_path / "a"


@pytest.mark.parametrize(
    "change", [{"width": 48_000}, {"blocks": 100_000}, {"width": 10**9}, {"width": 48.5}]
)
def test_a_small_file_cannot_ask_for_a_huge_system(change, tmp_path):
    path, started = strange(tmp_path, change), time.perf_counter()
    with pytest.raises(ValueError, match="cannot build") as caught:
        model_file.load(path)
    assert "\n" not in str(caught.value) and time.perf_counter() - started < 10
    nn.Linear(1000, 1000)  # afterwards everybody may build what they like


@pytest.mark.parametrize("config", [{"net": None}, {"net": [1]}, {"T": "x"}, [], None])
def test_a_configuration_of_other_types_is_a_sentence_too(config, tmp_path):
    with pytest.raises(ValueError, match="cannot build"):
        model_file.load(strange(tmp_path, {}, {"config": config}))


@pytest.mark.parametrize("names", [5, "ab", list(range(10)), ["a", "b"], {"a": 1}])
def test_names_that_are_no_words_or_not_one_for_each_class_are_refused(names, tmp_path):
    tensors, said = checkpoint.load(zoo.WEIGHTS / "adm-digits.safetensors")
    checkpoint.save(tmp_path / "a", tensors, said | {"names": names})
    with pytest.raises(ValueError, match="classes"):
        model_file.load(tmp_path / "a")


def test_a_system_that_is_compiled_as_a_whole_is_saved_as_it_is(tmp_path):
    plain = zoo.load("classifier-digits")
    model_file.save(tmp_path / "a", torch.compile(plain, backend="eager"))
    assert type(model_file.load(tmp_path / "a")) is type(plain)


def test_a_system_of_parts_is_built_from_its_file_alone(tmp_path):
    whole, path = zoo.load("sdg-scenes"), tmp_path / "sdg.safetensors"
    zoo.save("sdg-scenes", whole, path)
    sentence = ["a large red star"]
    expected = [state.x for state in whole.generate(sentence, steps=2)]
    for back in (zoo.load(path=path), zoo.load("sdg-scenes", path)):
        assert type(back) is SDG and not back.training and not back.clip.training
        assert torch.equal(back.encode(sentence), whole.encode(sentence))
        for ours, theirs in zip(back.generate(sentence, steps=2), expected, strict=True):
            assert torch.equal(ours.x, theirs)


def test_a_cascade_s_file_says_of_every_stage_what_it_is_in_their_order(tmp_path):
    torch.manual_seed(0)
    whole = Cascade(zebra=GLIDE(SMALL), ant=GLIDE(UPSAMPLES)).half().float()
    model_file.save(tmp_path / "a", whole)
    back = model_file.load(tmp_path / "a")
    assert list(back.parts) == ["zebra", "ant"]
    assert back.parts["ant"].config == UPSAMPLES
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), back.parameters()))


def of_parts(tmp_path, change):
    """The file of a cascade of one stage, in whose header a stranger has changed the parts."""
    model_file.save(tmp_path / "own", Cascade(base=GLIDE(SMALL)))
    tensors, said = checkpoint.load(tmp_path / "own")
    checkpoint.save(tmp_path / "a", tensors, said | {"parts": change(said["parts"]["base"])})
    return tmp_path / "a"


@pytest.mark.parametrize(
    "change",
    [
        lambda base: None,
        lambda base: {},
        lambda base: {"base": None},
        lambda base: {"base": {}},
        lambda base: {"base": base | {"system": "os.system"}},
        lambda base: {"base": base | {"config": None}},
        lambda base: {"base": {"system": "Classifier", "config": {}}},
        lambda base: {"base": base, "more": base},
        lambda base: [base],
    ],
)
def test_parts_that_cannot_be_built_are_a_sentence_with_the_files_name(change, tmp_path):
    with pytest.raises(ValueError, match="^[^\n]*/a holds [^\n]*$"):
        model_file.load(of_parts(tmp_path, change))


def test_a_file_that_is_named_like_a_system_of_parts_must_have_the_parts_of_its_recipe(tmp_path):
    model_file.save(tmp_path / "a", Cascade(base=GLIDE(SMALL)), name="sdg-scenes")
    with pytest.raises(ValueError, match="another configuration of sdg-scenes"):
        zoo.load("sdg-scenes", tmp_path / "a")


def test_a_system_with_a_part_of_ones_own_is_refused_when_it_is_saved(tmp_path):
    class Mine(GLIDE):
        pass

    with pytest.raises(ValueError, match="Mine could not be built again"):
        model_file.save(tmp_path / "a", Cascade(base=Mine(SMALL)))
    assert not list(tmp_path.iterdir())


def test_names_that_do_not_fit_are_refused_before_the_file_is_written(tmp_path):
    system = zoo.build("adm-digits")
    system.names = tuple(range(10))
    model_file.save(tmp_path / "numbers.safetensors", system)
    assert model_file.load(tmp_path / "numbers.safetensors").names == tuple("0123456789")
    system.names = ("a", "b")
    with pytest.raises(ValueError, match="2 names for 10 classes"):
        model_file.save(tmp_path / "words.safetensors", system)
    assert not (tmp_path / "words.safetensors").exists()
