"""Every public door of the core answers nonsense with one sentence: a ValueError, nothing else."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from labkit import markov, schedule
from labkit.conditioning import Conditioning
from labkit.data import digits, photos
from labkit.denoiser import Denoiser, dynamic_threshold
from labkit.guidance import ClassifierFree, ScoreGuidance, mean_shift
from labkit.interpolate import slerp
from labkit.mixture import GaussianMixture
from labkit.sampler import ddim, ddpm, invert, sample

MADE = schedule.cosine(20)
MIXTURE = GaussianMixture([[-1.0], [1.0]], 0.3)
EXACT = MIXTURE.denoiser(MADE)
CHAIN = markov.Chain([[0.5, 0.5], [0.2, 0.8]])


class Echo(torch.nn.Module):
    """A network for any shape of batch, which says x itself, `times` over."""

    def __init__(self, times=1):
        super().__init__()
        self.times = times

    def forward(self, x, t, cond):
        return torch.cat([x] * self.times, dim=1)


NETWORK = Denoiser(Echo(), MADE)
COND = Conditioning(vector=torch.ones(1, 2))
X = torch.zeros(3, 1)
RAW_DIGITS = torch.tensor(load_digits().images[:64], dtype=torch.float32)[:, None]  # 0 … 16
PRED = EXACT(X, 5)

shapes = st.lists(st.integers(0, 3), max_size=4)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
tensors = st.builds(lambda s, d: torch.ones(s, dtype=d), shapes, dtypes) | st.builds(
    lambda s, fill: torch.full(s, fill), shapes, st.floats(width=32)
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
junk = st.recursive(
    scalars | tensors | st.complex_numbers() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)

DOORS = {
    "linear T": schedule.linear,
    "linear ends": lambda a: schedule.linear(20, a, 0.02),
    "cosine T": schedule.cosine,
    "cosine s": lambda a: schedule.cosine(20, a),
    "cosine max_beta": lambda a: schedule.cosine(20, 0.008, a),
    "scaled_linear T": schedule.scaled_linear,
    "scaled_linear ends": lambda a: schedule.scaled_linear(20, a, 0.01),
    "sigmoid T": schedule.sigmoid,
    "sigmoid start": lambda a: schedule.sigmoid(20, a),
    "sigmoid tau": lambda a: schedule.sigmoid(20, tau=a),
    "from_betas": schedule.from_betas,
    "from_alpha_bar": schedule.from_alpha_bar,
    "NoiseSchedule": schedule.NoiseSchedule,
    "by_name": schedule.by_name,
    "timesteps": MADE.timesteps,
    "diffuse x0": lambda a: MADE.diffuse(a, 3, X),
    "diffuse t": lambda a: MADE.diffuse(X, a, X),
    "diffuse eps": lambda a: MADE.diffuse(X, 3, a),
    "posterior x0": lambda a: MADE.posterior(a, X, 3, 2),
    "posterior t": lambda a: MADE.posterior(X, X, a, 0),
    "posterior s": lambda a: MADE.posterior(X, X, 5, a),
    "sample x": lambda a: list(sample(EXACT, a, [20, 0])),
    "sample times": lambda a: list(sample(EXACT, X, a)),
    "sample cond": lambda a: list(sample(EXACT, X, [20, 0], Conditioning(vector=a))),
    "invert x0": lambda a: list(invert(EXACT, a, [20, 5, 0])),
    "invert times": lambda a: list(invert(EXACT, X, a)),
    "ddpm t": lambda a: ddpm(MADE, PRED, X, a, 0),
    "ddpm s": lambda a: ddpm(MADE, PRED, X, 5, a),
    "ddpm v": lambda a: ddpm(MADE, PRED, X, 5, 3, v=a),
    "ddim t": lambda a: ddim(MADE, PRED, X, a, 0, eta=0.5),
    "ddim s": lambda a: ddim(MADE, PRED, X, 5, a, eta=0.5),
    "ddim eta": lambda a: ddim(MADE, PRED, X, 5, 3, eta=a),
    "denoiser predicts": lambda a: Denoiser(torch.nn.Identity(), MADE, a),
    "denoiser x": lambda a: NETWORK(a, 3),
    "denoiser t": lambda a: EXACT(X, a),
    "denoiser loss": NETWORK.loss,
    "dynamic_threshold": dynamic_threshold,
    "ClassifierFree scale": lambda a: ClassifierFree(EXACT, COND, a),
    "ClassifierFree null": lambda a: ClassifierFree(EXACT, Conditioning(vector=a), 2.0)(X, 3, COND),
    "ClassifierFree cond": lambda a: ClassifierFree(EXACT, COND, 2.0)(X, 3, Conditioning(vector=a)),
    "ScoreGuidance scale": lambda a: ScoreGuidance(EXACT, MIXTURE.log_prob, a),
    "mean_shift scale": lambda a: mean_shift(
        MADE, PRED, X, 5, 3, log_prob=lambda x, t: MIXTURE.log_prob(x), scale=a
    ),
    "ScoreGuidance log_prob": lambda a: ScoreGuidance(EXACT, lambda x, t: a)(X, 3),
    "drop probability": lambda a: COND.drop(COND, vector=a),
    "drop together": lambda a: COND.drop(COND, together=a),
    "drop null": lambda a: COND.drop(Conditioning(vector=a)),
    "mixture means": GaussianMixture,
    "mixture std": lambda a: GaussianMixture([[0.0], [1.0]], a),
    "mixture weights": lambda a: GaussianMixture([[0.0], [1.0]], 1.0, a),
    "mixture draws": MIXTURE.sample,
    "mixture log_prob": MIXTURE.log_prob,
    "mixture t": lambda a: MIXTURE.diffused(MADE, a),
    "chain P": markov.Chain,
    "chain states": lambda a: markov.Chain([[0.5, 0.5], [0.5, 0.5]], a),
    "chain index": CHAIN.index,
    "chain walk": lambda a: CHAIN.walk(a, 0),
    "chain start": lambda a: CHAIN.distribution(a, 2),
    "chain steps": lambda a: CHAIN.distribution(0, a),
    "metropolis target": lambda a: markov.metropolis_hastings(a, CHAIN),
    "gaussian chain beta": markov.GaussianChain,
    "gaussian chain step": markov.GaussianChain(0.1).step,
    "gaussian chain mean": lambda a: markov.GaussianChain(0.1).moments(a, 1, 3),
    "gaussian chain std": lambda a: markov.GaussianChain(0.1).moments(0, a, 3),
    "gaussian chain steps": lambda a: markov.GaussianChain(0.1).moments(0, 1, a),
    "digits size": digits.load,
    "digits split": lambda a: digits.load(8, a),
    "photo name": photos.photo,
    "photo size": lambda a: photos.photo("flower", a),
}


@pytest.mark.parametrize("name", DOORS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(value=junk)
def test_nonsense_gets_a_sentence_or_an_answer_and_nothing_else(name, value):
    try:
        DOORS[name](value)
    except ValueError as error:
        sentence = str(error)
        assert 10 < len(sentence) < 400
        assert "\n" not in sentence


BAD = [
    (lambda: schedule.linear(0), "T is 0, but must be a whole number from 1"),
    (lambda: schedule.linear(10), "between"),
    (lambda: schedule.from_betas([0.1, 1.0]), "strictly between 0"),
    (lambda: schedule.from_betas([0.0, 0.5]), "strictly between 0"),
    (lambda: schedule.from_betas([0.1, float("nan")]), "NaN"),
    (lambda: schedule.from_betas([[0.1]]), "a row of numbers"),
    (lambda: schedule.NoiseSchedule([0.9, 0.5]), "must start with 1"),
    (lambda: schedule.NoiseSchedule([1.0, 0.5, 0.6]), "must fall at every step"),
    (lambda: schedule.NoiseSchedule([1.0, 0.5, 0.0]), "stay above 0"),
    (lambda: schedule.by_name("cosin"), "did you mean 'cosine'"),
    (lambda: MADE.timesteps(21), "from 1 to 20"),
    (lambda: MADE.diffuse(X, 21, X), "from 0 to 20"),
    (lambda: MADE.diffuse(X, torch.tensor([1, 2, 99]), X), "from 0 to T = 20"),
    (lambda: MADE.diffuse(X, torch.tensor([1, 2]), X), "one time per row"),
    (lambda: MADE.diffuse(X, 3, torch.zeros(2, 1)), "must have the same"),
    (lambda: MADE.diffuse(X.int(), 3, X), "floating point"),
    (lambda: MADE.posterior(X, X, 3, 3), "cleaner time"),
    (lambda: sample(EXACT, X, [20, 20, 0]), "each below the one before"),
    (lambda: sample(EXACT, X, [21, 0]), "from 0 to 20"),
    (lambda: invert(EXACT, X, [20, 0]), "two times above 0"),
    (lambda: ddim(MADE, PRED, X, 5, 3, eta=-0.1), "eta is -0.1"),
    (lambda: ddim(MADE, PRED, X, 5, 3, eta=1.5), "from 0 to 1"),
    (lambda: ddim(MADE, PRED, X, 3, 5, eta=0.5), "cleaner time"),
    (lambda: ddpm(MADE, PRED, X, 5, 3, v=2), "v is 2"),
    (lambda: Denoiser(torch.nn.Identity(), MADE, "noise"), "unknown prediction"),
    (lambda: NETWORK.loss(torch.full((2, 1, 4, 4), 255.0)), "scale pictures to"),
    (lambda: NETWORK.loss(torch.full((2, 1, 4, 4), float("nan"))), "scale pictures to"),
    (lambda: NETWORK(torch.zeros(2, 1, 4, 4), 0), "from 1 to 20"),
    (lambda: NETWORK(torch.zeros(2, 1), torch.tensor([0, 3])), "from 1 to T = 20"),
    (lambda: Denoiser(Echo(), MADE, "x0")(torch.ones(2, 1), torch.tensor([0, 0])), "from 1 to T"),
    (lambda: EXACT(X, 0), "time t is 0"),
    (lambda: NETWORK.loss(RAW_DIGITS), "root mean square of .*scale pictures to"),
    (lambda: ddim(MADE, PRED, X, 5, 3, eta=torch.tensor(1.5)), "eta is 1.5"),
    (lambda: schedule.linear(20, float("nan")), "must be a finite number"),
    (lambda: EXACT(X, 3, Conditioning(tokens=torch.ones(3, 2, 4))), "no route"),
    (lambda: EXACT(X, 3, Conditioning(image=torch.ones(3, 1, 4, 4))), "no route"),
    (lambda: GaussianMixture([[0.0], [1.0]]).log_prob(X), "std 0"),
    (lambda: GaussianMixture([[0.0], [1.0]]).score(X), "std 0"),
    (lambda: slerp(X + 1, -X - 1, 0.5), "opposite ways"),
    (lambda: Denoiser(Echo(times=2), MADE)(torch.zeros(2, 1, 4, 4), 3), "prediction"),
    (lambda: ClassifierFree(EXACT, COND, float("nan")), "scale is nan"),
    (lambda: COND.drop(COND, tokenz=0.1), "unknown route"),
    (lambda: COND.drop(Conditioning(tokens=torch.ones(1, 2, 2))), "same routes"),
    (lambda: Conditioning(vector=torch.ones(2, 2)).rows(3), "single row for all"),
    (lambda: GaussianMixture([[0.0]], -1.0), "none negative"),
    (lambda: GaussianMixture([[0.0]], 1.0, [0.0]), "above 0"),
    (lambda: MIXTURE.log_prob(torch.zeros(2, 3)), "lives in"),
    (lambda: markov.Chain([[0.5, 0.4], [0.5, 0.5]]), "row 0 of P sums to 0.9"),
    (lambda: markov.Chain([[1.5, -0.5], [0.5, 0.5]]), "never negative"),
    (lambda: markov.Chain([[0.5, 0.5]]), "square"),
    (lambda: markov.Chain([[1.0]], ("a", "b")), "1 different names"),
    (lambda: CHAIN.distribution([0.5, 0.6], 1), "sum to 1"),
    (lambda: CHAIN.index(2), "from 0 to 1"),
    (lambda: markov.GaussianChain(1.0), "strictly between"),
    (lambda: digits.load(split="tests"), "did you mean 'test'"),
    (lambda: photos.photo("flowers"), "did you mean 'flower'"),
]


@pytest.mark.parametrize(("door", "words"), BAD)
def test_the_sentence_says_what_is_wrong(door, words):
    with pytest.raises(ValueError, match=words):
        door()


def test_a_number_may_come_as_a_tensor():
    step = ddim(MADE, PRED, X, 5, 3, torch.Generator().manual_seed(0), eta=torch.tensor(0.5))
    assert torch.equal(step, ddim(MADE, PRED, X, 5, 3, torch.Generator().manual_seed(0), eta=0.5))


def test_what_was_given_is_copied_and_may_change_afterwards():
    table = torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64)
    means = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    made, mixture = schedule.NoiseSchedule(table), GaussianMixture(means, 1.0)
    table[1], means[0] = 0.2, 5.0
    assert made.alpha_bar.tolist() == [1.0, 0.5, 0.1]
    assert mixture.means.tolist() == [[0.0], [1.0]]
