"""What a network cannot look at is refused by one sentence, before any work."""

import numpy as np
import pytest
import torch

from labkit.inputs import number
from labkit.nets.classifier import Classifier, ClassifierConfig
from labkit.nets.noisy_classifier import NoisyClassifier, NoisyClassifierConfig
from labkit.nets.unet import UNet, UNetConfig
from labkit.scenes.reader import Reader, ReaderConfig
from labkit.systems.adm import ADM, ADMConfig, NoisyGuide, NoisyGuideConfig

SMALL = UNetConfig(
    size=8, channels=1, width=8, multipliers=(1, 2), blocks=1, attention=(), groups=4
)
X, T = torch.rand(2, 1, 8, 8) * 2 - 1, torch.tensor([3, 4])
UNET = UNet(SMALL)
NOISY = NoisyClassifier(NoisyClassifierConfig(SMALL, 3, 8))
PLAIN = Classifier(ClassifierConfig(size=8, widths=(4,), classes=3))
LOOKS = {
    "U-Net": lambda x: UNET(x, T),
    "classifier": PLAIN,
    "classifier of noise": lambda x: NOISY(x, T),
    "reader": Reader(ReaderConfig(size=16, width=4, deep=4, close=4)),
}


@pytest.mark.parametrize("who", LOOKS)
@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (1, 8, 8), (2, 1, 7, 8), (8, 8)])
def test_pictures_of_another_shape(who, shape):
    with pytest.raises(ValueError, match="(shape|halved)"):
        LOOKS[who](torch.zeros(shape))


@pytest.mark.parametrize("who", ["U-Net", "classifier", "classifier of noise"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_pictures_of_another_dtype(who, dtype):
    with pytest.raises(ValueError, match="weights of torch.float32"):
        LOOKS[who](X.to(dtype))


def test_autocast_may_choose_the_dtype():
    with torch.autocast("cpu", torch.bfloat16):
        assert UNET(X.bfloat16(), T).shape == X.shape


ADM_OF_THREE = ADM(ADMConfig(UNetConfig(**(vars(SMALL) | {"vector": 3}))))
GUIDE = NoisyGuide(NoisyGuideConfig(NoisyClassifierConfig(SMALL, 3, 8)))
TOLD = [ADM_OF_THREE, GUIDE, PLAIN]


@pytest.mark.parametrize("system", TOLD, ids=lambda system: type(system).__name__)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.int8])
def test_labels_may_be_of_any_whole_type(system, dtype):
    torch.manual_seed(0)
    loss = system.loss((X, torch.tensor([0, 2], dtype=dtype)))
    torch.manual_seed(0)
    assert loss == system.loss((X, torch.tensor([0, 2])))


@pytest.mark.parametrize("system", TOLD, ids=lambda system: type(system).__name__)
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.tensor([0, 1, 2]), "3 labels for 2 pictures"),
        (torch.tensor([0, 3]), "from 0 to 2"),
        (torch.tensor([-1, 0]), "from 0 to 2"),
        (torch.tensor([0.0, 1.0]), "from 0 to 2"),
        (torch.tensor([True, False]), "from 0 to 2"),
        (torch.tensor(1), "from 0 to 2"),
    ],
)
def test_labels_that_are_none_get_a_sentence(system, labels, words):
    with pytest.raises(ValueError, match=words):
        system.loss((X, labels))


def test_a_guide_told_more_labels_than_there_are_pictures_says_so():
    with pytest.raises(ValueError, match="3 labels for 2 pictures"):
        GUIDE.log_prob([0, 1, 2])(X, 5)


@pytest.mark.parametrize("prompts", [5, None, "cat", [], [1.5], ["1"], torch.tensor([0.5])])
def test_prompts_that_are_no_labels_get_a_sentence(prompts):
    with pytest.raises(ValueError, match="labels is"):
        ADM_OF_THREE.encode(prompts)


@pytest.mark.filterwarnings("error")
def test_numbers_of_numpy_are_met_as_python_s():
    assert number(np.float32(0.5), "a") == 0.5 and number(np.int64(3), "a") == 3
    for bad in (np.float32("inf"), np.float16("nan"), 10**400):
        with pytest.raises(ValueError, match="finite number"):
            number(bad, "a")
