"""Steps, guidance, inversion, bounds and mixtures: the same where the system lies as on a CPU."""

from functools import partial

import pytest
import torch

from labkit import schedule
from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, clip, dynamic_threshold, keep_known
from labkit.guidance import ClassifierFree, ScoreGuidance, mean_shift
from labkit.interpolate import lerp, slerp
from labkit.likelihood import bits_per_dim, eps_weights, hybrid_loss, prior_term, terms
from labkit.metrics import quantize
from labkit.mixture import GaussianMixture
from labkit.sampler import ddim, ddpm, invert, sample
from tests.machines import tiny
from tests.machines.pretended import pretended

EACH_ITS_OWN = torch.tensor([0.5, 2.0, 0.0])
SCALES = pytest.mark.parametrize("scale", [2.0, EACH_ITS_OWN], ids=["number", "tensor"])
DEVICES = pytest.mark.parametrize("own", [True, False], ids=["there", "cpu"])
MODELS = pytest.mark.parametrize("model", ["ddpm", "ddpm, x0", "ddpm, learned variance"])


def denoiser(model: str, device):
    return tiny.system(model, device).eval().denoiser


def start(device):
    return tiny.normal(3, 1, 8, 8, device=device, seed=1)


def brightness(x, t):
    """A score, brighter is better."""
    return x.flatten(1).sigmoid().sum(1)


STEPS = {
    "ddpm": ddpm,
    "ddpm, v": partial(ddpm, v=0.5),
    "ddim": ddim,
    "ddim, eta": partial(ddim, eta=0.5),
    "ddim, eta 1": partial(ddim, eta=1.0),
    "mean_shift": partial(mean_shift, log_prob=brightness, scale=3.0),
    "mean_shift, rows": partial(mean_shift, log_prob=brightness, scale=EACH_ITS_OWN, v=1.0),
}


@MODELS
@pytest.mark.parametrize("step", STEPS)
def test_every_step(alike, model, step):
    def work(device):
        denoise = denoiser(model, device)
        times, draw = denoise.schedule.timesteps(4), tiny.generator(2)
        return list(sample(denoise, start(device), times, step=STEPS[step], generator=draw))

    alike(work)


@MODELS
@pytest.mark.parametrize("step", STEPS)
def test_no_step_waits_for_its_device(model, step):
    with pretended("cuda") as machine:
        denoise = denoiser(model, "cuda")
        times, x = denoise.schedule.timesteps(4), start("cuda")
        machine.waits.clear()
        for _ in sample(denoise, x, times, step=STEPS[step], generator=tiny.generator(2)):
            assert not machine.waits


def test_a_walk_whose_noise_is_drawn_by_a_generator_that_lives_there(place):
    denoise = denoiser("ddpm", place.device)
    own = torch.Generator(place.device).manual_seed(1)
    *_, last = sample(denoise, start(place.device), [20, 10, 0], generator=own)
    assert last.x.device.type == place.device and torch.isfinite(last.x).all()


@DEVICES
@MODELS
def test_each_row_at_a_time_of_its_own(alike, model, own):
    def work(device):
        t = torch.tensor([1, 7, 20]).to(device if own else "cpu")
        with torch.no_grad():
            return denoiser(model, device)(start(device), t)

    alike(work)


@pytest.mark.parametrize("fn", [clip, dynamic_threshold(0.9), None], ids=["clip", "dyn", "known"])
def test_every_map_of_x0(alike, fn):
    def work(device):
        known = keep_known(torch.zeros(1, 1, 8, 8, device=device), torch.eye(8, device=device))
        with torch.no_grad():
            return MapX0(denoiser("ddpm", device), fn or known)(start(device), 9)

    alike(work)


@SCALES
@pytest.mark.parametrize("model", ["adm", "adm, learned variance"])
def test_classifier_free_guidance(alike, model, scale):
    def work(device):
        system = tiny.system(model, device).eval()
        guided = ClassifierFree(system.denoiser, system.null, scale)
        with torch.no_grad():
            cond = system.encode([0, 1, 2])
            return guided(start(device), 9, cond), guided(start(device), 9)

    alike(work)


@SCALES
def test_guidance_by_the_score_of_a_classifier(alike, scale):
    def work(device):
        score = tiny.system("noisy guide", device).eval().log_prob([0, 1, 2])
        guided = ScoreGuidance(denoiser("ddpm", device), score, scale)
        times = guided.schedule.timesteps(3)
        return list(sample(guided, start(device), times, step=ddim))

    alike(work)


def test_a_condition_dropped_row_by_row(alike):
    def work(device):
        cond = Conditioning(torch.ones(6, 2, device=device), torch.ones(6, 2, 3, device=device))
        null = cond.map(lambda field: torch.zeros_like(field[:1]))
        drop = partial(cond.drop, null, together=0.3, tokens=0.5)
        dropped = drop(generator=tiny.generator(1))
        return [field for field in dropped if field is not None]

    alike(work)


def test_inversion_and_the_way_back(alike):
    def work(device):
        denoise = denoiser("ddpm", device)
        *_, up = invert(denoise, tiny.pictures(2, device=device), [20, 10, 5, 1])
        *_, down = sample(denoise, up.x, [20, 10, 5, 1, 0], step=ddim)
        return up, down

    alike(work)


@pytest.mark.parametrize("model", ["ddpm", "ddpm, learned variance"])
def test_bits_per_dimension(alike, model):
    def work(device):
        x0 = quantize(tiny.pictures(2, device=device))
        bound = bits_per_dim(denoiser(model, device), x0, v=0.3, generator=tiny.generator(1))
        return bound.total, bound.prior, bound.steps.cpu().tolist()

    alike(work, rounded=True)


def test_every_term_of_the_bound(alike):
    def work(device):
        x0, denoise = quantize(tiny.pictures(2, device=device)), denoiser("ddpm", device)
        each = terms(denoise, x0, generator=tiny.generator(1))
        return [cost.tolist() for _, cost in each], prior_term(denoise.schedule, x0).tolist()

    alike(work, rounded=True)


def test_the_hybrid_loss_and_its_gradients(alike):
    def work(device):
        denoise = denoiser("ddpm, learned variance", device)
        x0 = quantize(tiny.pictures(3, device=device))
        loss = hybrid_loss(denoise, x0, generator=tiny.generator(4), weight=0.1)
        loss.backward()
        return loss.detach(), [parameter.grad for parameter in denoise.parameters()]

    alike(work, rounded=True)


def test_what_the_schedule_gives_to_multiply_a_picture(alike):
    noise = schedule.cosine(20)

    def work(device):
        x0, eps = tiny.pictures(3, device=device), start(device)
        t = torch.tensor([1, 7, 20], device=device)
        mean, _ = noise.posterior(x0, eps, t, t - 1)
        return noise.diffuse(x0, t, eps), noise.diffuse(x0, 5, eps), noise.signal(t, x0), mean

    alike(work)
    assert eps_weights(noise).device.type == "cpu"


def test_a_mixture_s_denoiser_and_its_condition(alike):
    table = schedule.linear(50)
    mixture = GaussianMixture([[-1.0, 0.0], [1.0, 0.3], [0.0, 1.0]], [0.3, 0.2, 0.4], [1, 1, 2])

    def work(device):
        x, denoise = tiny.normal(4, 2, device=device), mixture.denoiser(table)
        second = Conditioning(vector=torch.eye(3, device=device)[1:2])
        null = Conditioning(vector=torch.ones(1, 3, device=device))
        guided = ClassifierFree(denoise, null, 2.0)
        *_, last = sample(guided, x, table.timesteps(5), second, ddim)
        steered = ScoreGuidance(denoise, lambda x, t: mixture.diffused(table, t).log_prob(x))
        return denoise(x, 20), last.x, steered(x, 20), mixture.score(x)

    alike(work, rounded=True)


def test_a_mixture_s_densities_in_numbers(alike):
    mixture = GaussianMixture([[-1.0, 0.0], [1.0, 0.3]], 0.5)

    def work(device):
        x = tiny.normal(4, 2, device=device)
        densities = mixture.log_joint(x), mixture.log_prob(x), mixture.posterior(x)
        return [density.tolist() for density in densities]

    alike(work, rounded=True)


def test_between_two_noises(alike):
    def work(device):
        z1, z2 = (tiny.normal(2, 1, 8, 8, device=device, seed=seed) for seed in (1, 2))
        return lerp(z1, z2, 0.3), slerp(z1, z2, 0.3), slerp(z1, 2 * z1, 0.5)

    alike(work, rounded=True)
