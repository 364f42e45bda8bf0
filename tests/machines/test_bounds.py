"""The bound of a model that is sure and wrong: as many bits on a device as on a CPU."""

from labkit.likelihood import bits_per_dim, term
from labkit.metrics import quantize
from tests.machines import tiny


def test_bits_per_dimension_of_a_model_that_is_far_off(alike):
    def work(device):
        denoise = tiny.system("ddpm, x0", device).denoiser
        x0 = quantize(tiny.pictures(2, device=device))
        bound = bits_per_dim(denoise, x0, v=0.3, generator=tiny.generator(1))
        return bound.total, bound.prior, bound.steps.tolist()

    alike(work, rounded=True)


def test_the_decoder_s_bits_however_many_standard_deviations_it_is_off(alike):
    def work(device):
        denoise = tiny.system("ddpm, x0", device).denoiser
        x0 = quantize(tiny.pictures(4, device=device))
        x = denoise.schedule.diffuse(x0, 1, tiny.normal(4, 1, 8, 8, device=device))
        far = x0 + tiny.normal(4, 1, 8, 8, device=device, seed=1)
        pred = denoise(x, 1)
        each = [pred._replace(x0=x0 + share * (far - x0)) for share in (0.0, 0.01, 0.1, 1.0)]
        return [term(denoise.schedule, one, x0, x, 1).tolist() for one in each]

    alike(work, rounded=True)
