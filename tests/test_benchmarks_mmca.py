"""The tables of lesson 13: what was trained for another number of steps is not taken for it."""

import pytest

from benchmarks import mmca
from labkit import model_file, zoo
from labkit.nets.bert import BertConfig
from labkit.systems.matcher import Matcher, MatcherConfig


def test_a_finished_training_serves_for_its_own_number_of_steps_alone(tmp_path):
    text = BertConfig(vocabulary=1010, context=32, width=16, depth=1, heads=2)
    tiny = MatcherConfig(text, features=6, width=8, heads=2, hidden=12, filters=5)
    model_file.save(tmp_path / "both-0.safetensors", Matcher(tiny), step=20)
    assert mmca.trained(tmp_path, "both", 0, 20, None).config == tiny
    whole = zoo.recipe("matcher-scenes").training["steps"]
    for steps, wanted in ((30, 30), (None, whole)):
        with pytest.raises(ValueError, match=f"for 20 steps, but {wanted} are wanted"):
            mmca.trained(tmp_path, "both", 0, steps, None)
