"""Stable Diffusion, made small, from files in the released form: each part and the whole pipeline
against diffusers and transformers."""

import json

import pytest
import safetensors.torch
import torch

from labkit import hub
from labkit.hub import stable_diffusion
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.schedule import trailing_spacing
from labkit.systems.ldm import LDM, LDMConfig
from tests.parity.test_blocks import drawn
from tests.parity.test_clip_transformers import AWKWARD, CORPUS, their_tokenizer  # noqa: F401

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

NET = UNetConfig(
    size=8, channels=4, width=32, multipliers=(1, 2, 4, 4), attention=(8, 4, 2), heads=8, groups=8,
    mixer="spatial", tokens=24, first_time=0,
)  # fmt: skip
PIXELS = AutoencoderConfig(size=64, width=8, multipliers=(1, 2, 4, 4), groups=4)
RELEASED = {
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
    "clip_sample": False, "steps_offset": 1, "set_alpha_to_one": False,
}  # fmt: skip
PROMPTS = ["a photo of a cat", "two cats and three dogs, aren't they?"]


@pytest.fixture(scope="module")
def pipeline(their_tokenizer):  # noqa: F811
    """Theirs, every parameter drawn at random."""
    torch.manual_seed(0)
    words = their_tokenizer
    words.model_max_length = 77
    text = drawn(
        transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=len(words), hidden_size=24, intermediate_size=96, num_hidden_layers=2,
                num_attention_heads=3, max_position_embeddings=77, eos_token_id=len(words) - 1,
                bos_token_id=len(words) - 2, projection_dim=24,
            )
        )
    )  # fmt: skip
    unet = drawn(
        diffusers.UNet2DConditionModel(
            sample_size=8, block_out_channels=(32, 64, 128, 128), norm_num_groups=8,
            cross_attention_dim=24,
        )
    )  # fmt: skip
    vae = drawn(
        diffusers.AutoencoderKL(
            block_out_channels=(8, 16, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, norm_num_groups=4,
            latent_channels=4, sample_size=64,
        )
    )  # fmt: skip
    made = diffusers.StableDiffusionPipeline(
        vae, text, words, unet, diffusers.DDIMScheduler(**RELEASED), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def config(pipeline) -> LDMConfig:
    words = len(pipeline.tokenizer)
    text = TextConfig(vocabulary=words, width=24, depth=2, heads=3, end=words - 1)
    return LDMConfig(net=NET, autoencoder=PIXELS, text=text, clip_text=True)


def as_released(pipeline, folder) -> None:
    """The folder as the release has it: with vocab.json and merges.txt for the tokenizer."""
    pipeline.save_pretrained(folder)
    saved = json.loads((folder / "tokenizer" / "tokenizer.json").read_text("utf-8"))["model"]
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(saved["vocab"]), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in saved["merges"])]
    (folder / "tokenizer" / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")


def changed(path, change) -> None:
    """The file of weights with its tensors changed."""
    safetensors.torch.save_file(change(safetensors.torch.load_file(path)), path)


@pytest.fixture(scope="module")
def ours(pipeline, config, tmp_path_factory) -> LDM:
    folder = tmp_path_factory.mktemp("released")
    as_released(pipeline, folder)
    return hub.load_stable_diffusion(folder, config)


def test_the_configuration_of_the_release_has_as_many_parameters_as_the_release():
    with torch.device("meta"):
        model = LDM(stable_diffusion.V1)
    parts = (model.denoiser.net, model.autoencoder, model.condition.text)
    counts = [sum(weight.numel() for weight in part.parameters()) for part in parts]
    assert counts == [859_520_964, 83_653_863, 123_060_480]


@pytest.mark.parametrize("text", [*AWKWARD, *CORPUS])
def test_a_tokenizer_of_two_files_cuts_any_text_as_theirs_does(pipeline, ours, text):
    expected = pipeline.tokenizer(
        text, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    assert torch.equal(ours.tokenizer.encode(text).ids, expected)
    spoken = pipeline.tokenizer.decode(expected[0], skip_special_tokens=True).strip()
    assert ours.tokenizer.decode(expected) == [spoken]


@torch.no_grad()
def test_sentences_become_the_tokens_of_theirs_and_no_sentence_a_text_of_no_words(pipeline, ours):
    given = pipeline.encode_prompt(PROMPTS, "cpu", 1, True, negative_prompt=["", ""])
    for prompts, expected in zip((PROMPTS, [None, None]), given, strict=True):
        assert expected.std() > 0.5
        actual = ours.encode(prompts).tokens
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def painted(pipeline, scheduler, noise, steps) -> torch.Tensor:
    pipeline.scheduler = scheduler
    made = pipeline(
        PROMPTS, num_inference_steps=steps, guidance_scale=3.0, latents=noise, output_type="pt",
        height=64, width=64,
    )  # fmt: skip
    return 2 * made.images - 1


def noise_of(seed: int) -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_the_whole_pipeline_paints_the_picture_of_theirs_from_the_same_noise(pipeline, ours):
    options = {"timestep_spacing": "trailing", "set_alpha_to_one": True}
    scheduler = diffusers.DDIMScheduler(**RELEASED | options)
    expected = painted(pipeline, scheduler, noise_of(5), steps=20)
    times = trailing_spacing(1000, 20)
    *_, last = ours.generate(PROMPTS, steps=times, scale=3.0, seed=5)
    assert last.pictures.std() > 0.1 and (last.pictures.abs() < 1).float().mean() > 0.5
    assert (last.pictures - expected).abs().max() < 1e-3


@torch.no_grad()
def test_it_does_so_at_the_times_of_the_release_too_which_end_one_step_early(pipeline, ours):
    scheduler = diffusers.DDIMScheduler(**RELEASED)
    expected = painted(pipeline, scheduler, noise_of(6), steps=20)
    times = [*(952 - 50 * step for step in range(20)), 1]  # theirs are 951 … 1 and 0
    *_, last = ours.generate(PROMPTS, steps=times, scale=3.0, seed=6)
    assert (ours.decode(last.x).clamp(-1, 1) - expected).abs().max() < 1e-3


WEIGHTS = (
    "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model",
)  # fmt: skip


def test_half_precision_files_become_full_precision_weights_near_by(
    pipeline, ours, config, tmp_path
):
    as_released(pipeline, tmp_path)
    for name in WEIGHTS:
        path = tmp_path / f"{name}.safetensors"
        changed(path, lambda tensors: {name: part.half() for name, part in tensors.items()})
        path.rename(tmp_path / f"{name}.fp16.safetensors")
    half = hub.load_stable_diffusion(tmp_path, config)
    for own, other in zip(ours.state_dict().values(), half.state_dict().values(), strict=True):
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, own, atol=1e-3, rtol=1e-3)


def test_files_of_the_time_of_the_release_have_earlier_names_and_load_all_the_same(
    pipeline, ours, config, tmp_path
):
    """Attention of the autoencoder, a prefix of the text transformer's, and its counted places."""
    as_released(pipeline, tmp_path)
    earlier = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def before(tensors):
        for today, name in earlier.items():
            tensors = {key.replace(today, name): part for key, part in tensors.items()}
        return tensors

    def prefixed(tensors):
        tensors = {name.removeprefix("text_model."): part for name, part in tensors.items()}
        tensors["embeddings.position_ids"] = torch.arange(77)[None]
        return {f"text_model.{name}": part for name, part in tensors.items()}

    for name, change in zip(WEIGHTS[1:], (before, prefixed)):
        changed(tmp_path / f"{name}.safetensors", change)
    again = hub.load_stable_diffusion(tmp_path, config)
    assert all(map(torch.equal, again.state_dict().values(), ours.state_dict().values()))


def test_it_is_whole_ready_to_use_and_only_its_u_net_could_learn(ours):
    learned = {name.split(".")[0] for name, p in ours.named_parameters() if p.requires_grad}
    assert learned == {"denoiser"}
    assert ours.scale == pytest.approx(0.18215) and ours.hears == "sentences" and not ours.training
