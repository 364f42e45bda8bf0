"""What an autoencoder is taught by: each loss alone, and all of them together."""

from dataclasses import replace

import pytest
import torch

from labkit import model_file, scenes, train, zoo
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.systems.autoencoder import (
    FirstStage,
    FirstStageConfig,
    adaptive_weight,
    codebook_loss,
    hinge_loss,
)
from labkit.systems.perceptual import PerceptualLoss

NET = AutoencoderConfig(
    size=16, width=8, multipliers=(1, 2), blocks=1, groups=4, latent=3, attention=False
)
KL = FirstStageConfig(NET)
VQ = FirstStageConfig(replace(NET, codebook=12))
JUDGED = replace(KL, adversarial=0.5, judge=4, layers=2)


def made(config=KL) -> FirstStage:
    torch.manual_seed(0)
    return FirstStage(config)


def pictures(count=4, size=16):
    return scenes.render(scenes.draw(count, 0, "all"), size)


def terms(stage, x):
    torch.manual_seed(1)
    return stage.terms(x)


def moved(stage, loss) -> set[str]:
    """The parts of the system that a loss would change."""
    stage.zero_grad()
    loss.backward(retain_graph=True)
    return {
        name.split(".")[1 if name.startswith("autoencoder") else 0]
        for name, weight in stage.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }


def test_the_misfit_is_the_mean_distance_of_the_pixels():
    stage, x = made(), pictures()
    found = terms(stage, x)
    torch.manual_seed(1)
    again = stage.autoencoder.decode(stage.autoencoder.encode(x))
    torch.testing.assert_close(found["reconstruction"], (again - x).abs().mean())


def test_the_divergence_is_weighed_against_the_misfit_summed_over_all_pixels():
    stage, x = made(replace(KL, kl=0.01)), pictures()
    divergence = stage.autoencoder.posterior(x).kl().mean()
    torch.testing.assert_close(terms(stage, x)["kl"], 0.01 * divergence / (3 * 16 * 16))
    summed = terms(stage, x)["reconstruction"] * 3 * 16 * 16  # a row's, as the paper has it
    whole = summed + 0.01 * divergence
    torch.testing.assert_close(stage_loss(stage, x) * 3 * 16 * 16, whole)


def stage_loss(stage, x):
    torch.manual_seed(1)
    return stage.loss(x)


def test_in_bfloat16_the_posterior_is_still_of_full_precision():
    net, x = made().autoencoder, pictures()
    with torch.autocast("cpu", torch.bfloat16):
        posterior, z = net.posterior(x), made(VQ).autoencoder.encode(x)
    kinds = {part.dtype for part in (*posterior, posterior.kl(), posterior.sample(), z)}
    assert kinds == {torch.float32}


def test_the_loss_is_the_sum_of_its_terms():
    x = pictures()
    for config in (KL, VQ, JUDGED):
        stage = made(config)
        torch.testing.assert_close(stage_loss(stage, x), sum(terms(stage, x).values()))


def test_the_codebook_is_pulled_to_the_latents_and_they_less_to_it():
    z, entries = (torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    codebook_loss(z, entries, commitment=0.25).backward()
    way = (entries - z).detach() * 2 / z.numel()
    torch.testing.assert_close(entries.grad, way)
    torch.testing.assert_close(z.grad, -0.25 * way)


def test_what_a_codebook_rounds_still_teaches_the_encoder():
    stage, x = made(VQ), pictures()
    found = terms(stage, x)
    assert moved(stage, found["reconstruction"]) >= {"encoder", "decoder", "quant_conv"}
    assert "codebook" not in moved(stage, found["reconstruction"])
    assert moved(stage, found["codebook"]) == {"encoder", "quant_conv", "codebook"}


def test_the_hinge_loss_is_one_where_the_discriminator_says_nothing_and_zero_where_it_is_sure():
    zero = torch.zeros(2, 1, 3, 3)
    assert hinge_loss(zero, zero) == 1
    assert hinge_loss(zero + 1, zero - 1) == 0 and hinge_loss(zero + 5, zero - 5) == 0
    assert hinge_loss(zero - 1, zero + 1) == 2


def test_the_adaptive_weight_is_the_ratio_of_gradients_and_has_none_itself():
    last = torch.tensor([1.0, 2.0], requires_grad=True)
    by_misfit, by_judge = 3 * last.sum(), 0.5 * last.sum()
    factor = adaptive_weight(by_misfit, by_judge, last)
    assert factor.item() == pytest.approx(6, rel=1e-3) and not factor.requires_grad
    assert adaptive_weight(by_misfit, 0 * last.sum(), last) == 1e4


def test_the_discriminator_moves_the_autoencoder_as_much_as_its_weight_says():
    stage, x = made(JUDGED), pictures()
    found, last = terms(stage, x), stage.autoencoder.decoder[-1].weight
    sizes = [
        torch.autograd.grad(found[name], last, retain_graph=True)[0].norm().item()
        for name in ("reconstruction", "adversarial")
    ]
    assert sizes[1] == pytest.approx(0.5 * sizes[0], rel=0.02)


def test_each_side_of_the_contest_moves_its_own_weights_alone():
    stage, x = made(JUDGED), pictures()
    found = terms(stage, x)
    assert "judge" not in moved(stage, found["adversarial"])
    assert moved(stage, found["judge"]) == {"judge"}


def test_where_nobody_learns_the_loss_can_still_be_had():
    with torch.no_grad():
        assert made(JUDGED).loss(pictures()).isfinite()


def test_the_perceptual_distance_counts_as_much_as_its_weight_says():
    stage, x = made(), pictures(2)
    clip = zoo.load("clip-scenes")
    plain = terms(stage, x)
    for weight in (1.0, 0.25):
        stage.perceptual = PerceptualLoss(clip, weight)
        torch.manual_seed(1)
        again = stage.autoencoder.decode(stage.autoencoder.encode(x))
        expected = weight * stage.perceptual.distance(again, x).mean()
        torch.testing.assert_close(terms(stage, x)["perceptual"], expected)
    assert "perceptual" not in plain


@pytest.mark.parametrize("config", [KL, VQ, JUDGED], ids=["KL", "VQ", "with a discriminator"])
def test_it_learns_to_bring_pictures_back_and_its_file_builds_it_again(config, tmp_path):
    x = pictures(16)
    stage = made(config)
    before = (stage.reconstruct(x) - x).square().mean()
    *_, last = train.train(stage, train.shuffled(x, batch=8), 60, lr=5e-3, warmup=5, ema=0.9)
    after = (last.ema.reconstruct(x) - x).square().mean()
    assert after < 0.5 * before
    model_file.save(tmp_path / "stage.safetensors", last.ema)
    again = model_file.load(tmp_path / "stage.safetensors")
    assert again.config == config
    # In half precision a latent or two is rounded to another entry.
    assert (again.reconstruct(x) - last.ema.reconstruct(x)).abs().mean() < 2e-3


def test_a_reconstruction_is_the_posterior_s_mean_decoded_and_clipped():
    stage, x = made(), pictures()
    expected = stage.autoencoder.decode(stage.autoencoder.posterior(x).mean).clamp(-1, 1)
    assert torch.equal(stage.reconstruct(x), expected)
    assert torch.equal(stage.reconstruct(x), stage.reconstruct(x))


def test_a_late_discriminator_begins_from_a_run_without_one():
    plain, judged = made(), FirstStage(JUDGED)
    judged.begin_from(plain)
    assert torch.equal(judged.reconstruct(pictures()), plain.reconstruct(pictures()))
    with pytest.raises(ValueError, match="another network: its codebook is None instead of 12"):
        FirstStage(VQ).begin_from(plain)


def test_bad_weights_and_bad_pictures_are_refused():
    with pytest.raises(ValueError, match="sees nothing in pictures of 16 pixels"):
        replace(JUDGED, layers=3)
    for change in ({"kl": -1}, {"adversarial": float("nan")}, {"judge": 0}, {"layers": 0.5}):
        with pytest.raises(ValueError, match=next(iter(change))):
            replace(KL, **change)
    with pytest.raises(ValueError, match="lie in"):
        made().loss(100 * pictures())
    with pytest.raises(ValueError, match="do not fit this autoencoder"):
        made().reconstruct(pictures(size=32))
