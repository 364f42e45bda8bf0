"""Imagen on tiny networks: what is heard, the null, noise of a known level, crops, the cascade."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from labkit import model_file, scenes, schedule, train, zoo
from labkit.conditioning import Conditioning
from labkit.data.pictures import quantize
from labkit.denoiser import Prediction, clip, dynamic_threshold
from labkit.nets.t5 import T5Config
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.recipes import imagen as recipes
from labkit.sampler import ddpm
from labkit.scenes.synonyms import PLAIN
from labkit.systems.glide import GLIDE, GLIDEConfig
from labkit.systems.imagen import Imagen, Remembering, embedded
from labkit.systems.imagen_stage import ImagenConfig, ImagenStage, silence
from labkit.systems.t5 import T5

READS = T5Config(
    vocabulary=1025, width=16, hidden=24, depth=1, heads=2, head_width=8, sentinel=1024
)
NET = UNetConfig(
    size=16, width=8, multipliers=(1, 1), blocks=1, attention=(8,), head_channels=4, groups=4,
    scale_shift_norm=True, residual_resampling=True, vector=12, vector_bias=True, tokens=16,
)  # fmt: skip
BASE = ImagenConfig(net=NET, T=50, predicts="x0")
LARGER = replace(
    NET, size=32, image=3, residual_resampling=False, resample_first=True, skip_scale=0.5**0.5
)
SR32 = ImagenConfig(net=LARGER, T=50, predicts="x0", upsamples=16)
SR64 = ImagenConfig(
    net=replace(LARGER, size=64, mixer="cross"), T=50, predicts="x0", upsamples=32, crop=32
)
STAR, DISC = "a red star", "a large blue disc on a mint background"


def awake(system, seed=0):
    """Every weight drawn anew: branches that start at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for weight in system.parameters():
        weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    return system.eval()


def reader():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return T5(READS).eval()


def whole():
    stages = {"base": BASE, "sr32": SR32, "sr64": SR64}
    made = {name: awake(ImagenStage(config), seed) for seed, (name, config) in
            enumerate(stages.items())}  # fmt: skip
    return Imagen(reader(), **made)


def text(*prompts):
    return embedded(reader(), list(prompts))


def pictures(count=2, size=16, seed=0):
    return scenes.render(scenes.draw(count, seed, "all"), size)


def last(states):
    *_, state = states
    return state.x


@torch.no_grad()
def answer(system, cond, size=16):
    x = torch.randn(len(cond.tokens), 3, size, size, generator=torch.Generator().manual_seed(1))
    return system.denoiser(x, 20, cond).x0


# The numbers of the paper


def test_the_ancestral_step_is_the_one_of_the_papers_equations():
    """Imagen's form by log-SNR, with its interpolated variance, for a step of any length."""
    table, t, s, gamma = schedule.cosine(100), 60, 35, 0.3
    x, x0 = torch.randn(2, 8, dtype=torch.float64)
    ratio = torch.exp(table.log_snr[t] - table.log_snr[s])  # e^(λ_t − λ_s)
    alpha = {k: table.alpha_bar[k].sqrt() for k in (t, s)}
    mean = ratio * alpha[s] / alpha[t] * x + (1 - ratio) * alpha[s] * x0
    small = (1 - ratio) * (1 - table.alpha_bar[s])
    large = (1 - ratio) * (1 - table.alpha_bar[t])
    noise = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    expected = mean + (small ** (1 - gamma) * large**gamma).sqrt() * noise
    pred = Prediction(x0[None], x[None])
    drawn = ddpm(table, pred, x[None], t, s, torch.Generator().manual_seed(4), v=gamma)
    assert torch.allclose(drawn[0], expected)


def test_thresholding_is_that_of_the_papers_example():
    x0 = torch.tensor([[-3, -1.5, -0.5, 0, 0.2, 0.6, 1.2, 2]])
    expected = torch.tensor([[-1, -0.652, -0.217, 0, 0.087, 0.261, 0.522, 0.870]])
    assert torch.allclose(dynamic_threshold(0.9)(x0), expected, atol=5e-4)
    assert torch.equal(clip(x0), x0.clamp(-1, 1))
    small = x0 / 4  # whatever lies within is left alone
    assert torch.equal(dynamic_threshold(0.9)(small), small)
    both = dynamic_threshold(0.9)(torch.cat([x0, small]))  # each picture for itself
    assert torch.allclose(both, torch.cat([expected, small]), atol=5e-4)


def test_guidance_in_the_papers_convention_is_the_house_s():
    eps_c, eps_u, w = torch.tensor(1.5), torch.tensor(-0.5), 1.35
    assert torch.isclose(w * eps_c + (1 - w) * eps_u, eps_u + w * (eps_c - eps_u))


def test_the_first_two_stages_look_at_text_and_pixels_at_once_the_last_at_text_alone():
    mixers = [recipes.STAGES[name].net.mixer for name in ("base", "sr64", "sr128")]
    assert mixers == ["pixels", "pixels", "cross"]
    for name in ("sr64", "sr128"):
        net = recipes.STAGES[name].net
        assert net.resample_first and net.skip_scale == 0.5**0.5 and len(set(net.blocks)) > 1
    assert recipes.STAGES["sr128"].crop == 64


# What is heard


def test_the_text_enters_by_both_routes():
    system = awake(ImagenStage(BASE))
    star, disc = (system.condition(text(words, DISC)) for words in (STAR, DISC))
    heard = answer(system, star)
    assert star.vector.shape == (2, 12) and star.tokens.shape == (2, 10, 16)
    others = (star._replace(vector=disc.vector),
              star._replace(tokens=disc.tokens, mask=disc.mask))  # fmt: skip
    for other in others:
        assert not torch.allclose(answer(system, other)[0], heard[0], atol=1e-6)
        assert torch.allclose(answer(system, other)[1], heard[1], atol=1e-6)


def test_what_stands_behind_the_end_of_a_text_is_not_heard():
    system, both = awake(ImagenStage(BASE)), text(STAR, DISC)
    alone = system.condition(Conditioning(tokens=both.tokens[:1, :5], mask=both.mask[:1, :5]))
    filled = torch.where(both.mask[..., None], both.tokens, 7.0)
    together = system.condition(both._replace(tokens=filled))
    assert torch.allclose(alone.vector, together.vector[:1], atol=1e-5)
    one = answer(system, alone)
    two = answer(system, Conditioning(*(part[:1] for part in together[:3])))
    assert torch.allclose(one, two, atol=1e-5)


def test_no_text_is_the_null_whatever_the_tokens_are():
    system, both = awake(ImagenStage(BASE)), text(STAR, None)
    quiet = silence(both)
    assert not quiet.tokens.any() and not quiet.mask.any()
    null, mixed = system.condition(quiet), system.condition(both)
    assert torch.allclose(mixed.vector[1], null.vector[0], atol=1e-6)
    assert torch.allclose(answer(system, mixed)[1], answer(system, null)[1], atol=1e-5)
    loud = quiet._replace(tokens=torch.randn_like(quiet.tokens))
    assert torch.allclose(answer(system, system.condition(loud)), answer(system, null), atol=1e-5)


def test_about_a_tenth_of_the_rows_lose_their_text():
    seen = []
    system = awake(ImagenStage(BASE))
    system.pool.register_forward_pre_hook(lambda module, args: seen.append(~args[1].any(1)))
    torch.manual_seed(0)
    batch = pictures(1).expand(64, -1, -1, -1), text(STAR).rows(64)
    for _ in range(6):
        system.loss(batch)
    assert torch.cat(seen).double().mean() == pytest.approx(0.1, abs=0.04)


def test_training_brings_its_loss_down_and_never_touches_the_encoder():
    torch.manual_seed(0)
    system, read = ImagenStage(BASE), reader()
    before = read.net.tokens.weight.clone()
    draw = recipes.embedded_scene_batches(read, 16, 16)
    losses = [step.loss for step in train.train(system, draw, steps=60, lr=3e-3, warmup=5)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert torch.equal(before, read.net.tokens.weight)


def test_a_base_begins_from_the_pictures_of_a_glide_and_hears_text_in_its_own_way():
    words = TextConfig(vocabulary=1009, context=32, width=16, depth=1, heads=2, end=1008)
    glide = GLIDE(GLIDEConfig(replace(NET, vector=16), T=50, predicts="x0", text=words))
    system = ImagenStage(replace(BASE, net=replace(NET, vector=16)))
    pool = system.pool.out.weight.clone()
    awake(glide)
    system.begin_from(glide)
    cond = system.condition(text(STAR))
    assert torch.equal(answer(system, cond), answer(glide, cond))
    assert torch.equal(system.pool.out.weight, pool)
    for change in ({"predicts": "eps"}, {"T": 40}, {"net": NET}):
        with pytest.raises(ValueError, match=f"^[^\n]*whose {[*change][0]} is [^\n]*$"):
            ImagenStage(replace(system.config, **change)).begin_from(glide)


def test_the_recipe_of_the_base_is_the_network_of_glide_scenes_from_which_it_begins():
    made, base = zoo.recipe("imagen-scenes-base"), zoo.recipe("glide-scenes")
    assert made.begins_from == "glide-scenes" and made.config.net == base.config.net
    for name in ("schedule", "T", "predicts"):
        assert getattr(made.config, name) == getattr(base.config, name)


def test_an_encoder_that_is_trained_along_gets_its_gradient():
    system, read = awake(ImagenStage(BASE)), reader()
    cond = read.read(read.reads.encode([STAR, DISC]))
    system.loss((pictures(), cond)).backward()
    assert read.net.tokens.weight.grad.any()


def test_captions_of_training_avoid_the_words_that_only_the_corpus_uses():
    heard = []

    class Listening:
        def encode(self, texts):
            heard.extend(texts)
            return text(*texts)

    recipes.embedded_scene_batches(Listening(), 300, 8)(torch.Generator().manual_seed(0))
    assert len(heard) == 300
    assert not any(f" {word} " in f" {words} " for words in heard for word in PLAIN)


def test_a_remembered_text_follows_the_stage_to_its_device():
    system = ImagenStage(BASE).to("meta")
    cond = system.condition(Remembering(reader()).encode([STAR, DISC]))
    assert {part.device.type for part in cond[:3]} == {"meta"}


# Larger pictures


def test_noise_of_level_0_changes_nothing_and_of_level_1_leaves_nothing():
    system, seen = awake(ImagenStage(SR32)), pictures(3, 32)
    torch.manual_seed(0)
    noisy, times = system.noised(seen, torch.tensor([0.0, 0.5, 1.0]))
    assert times.tolist() == [0, 25, 50]
    assert torch.equal(noisy[0], seen[0])
    table, x = system.denoiser.schedule, seen.flatten(1)
    for row, t in ((1, 25), (2, 50)):
        share = (noisy.flatten(1)[row] @ x[row] / (x[row] @ x[row])).item()
        assert share == pytest.approx(table.alpha_bar[t].sqrt().item(), abs=0.1)
        left = noisy.flatten(1)[row] - table.alpha_bar[t].sqrt().float() * x[row]
        assert left.var().item() == pytest.approx(1 - table.alpha_bar[t].item(), rel=0.1)


def test_it_is_told_how_noisy_what_it_sees_is():
    system, cond = awake(ImagenStage(SR32)), text(STAR, DISC)
    seen = pictures(2, 32)
    one, other = (system.condition(cond, seen, torch.tensor(times)) for times in ([5, 5], [5, 45]))
    assert torch.equal(one.vector[0], other.vector[0])
    assert not torch.allclose(one.vector[1], other.vector[1], atol=1e-4)
    assert torch.equal(one.image, seen)


def test_levels_of_training_come_from_all_of_0_to_1_and_small_ones_are_the_more_frequent():
    seen = []
    system = awake(ImagenStage(SR32))
    noised = system.noised
    system.noised = lambda low, levels: seen.append(levels) or noised(low, levels)
    torch.manual_seed(0)
    for _ in range(4):
        system.loss((pictures(50, 32), text(STAR).rows(50)))
    levels = torch.cat(seen)
    assert len(levels.unique()) == 200 and levels.min() < 0.05 and levels.max() > 0.95
    assert levels.mean().item() == pytest.approx(1 / 3, abs=0.06)  # of squares
    assert (levels < 0.3).double().mean().item() == pytest.approx(0.3**0.5, abs=0.1)


def test_it_learns_from_crops_of_the_picture_and_of_the_smaller_one_at_the_same_place():
    system, large = awake(ImagenStage(SR64)), pictures(4, 64)
    low = system.enlarged(system.shrunk(large))
    assert system.shrunk(large).shape == (4, 3, 32, 32) and low.shape == large.shape
    torch.manual_seed(0)
    cut, seen = system.cropped(large, low)
    assert cut.shape == seen.shape == (4, 3, 32, 32)
    places = []
    for row in range(4):
        windows = large[row].unfold(1, 32, 1).unfold(2, 32, 1)  # (3, 33, 33, 32, 32)
        found = (windows == cut[row][:, None, None]).flatten(3).all(3).all(0).nonzero()
        i, j = found[0].tolist()
        assert torch.equal(low[row, :, i : i + 32, j : j + 32], seen[row])
        places.append((i, j))
    assert len(set(places)) > 1
    assert system.loss((large, text(STAR).rows(4))).isfinite()
    drawn = last(system.generate(text(STAR), low=pictures(1, 32), steps=2))
    assert drawn.shape == (1, 3, 64, 64)


def test_small_pictures_are_the_means_of_squares_as_a_file_holds_them():
    system, large = awake(ImagenStage(SR32)), pictures(2, 32)
    means = large.reshape(2, 3, 16, 2, 16, 2).mean((3, 5))
    assert torch.allclose(system.shrunk(large), quantize(means), atol=1e-6)
    small = pictures(2, 16)
    same = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.equal(system.enlarged(small), same)


def test_a_level_is_noise_of_the_seed_and_differs_from_none():
    system, low = awake(ImagenStage(SR32)), quantize(pictures(2, 16))
    draw = lambda level, seed=3: last(  # noqa: E731
        system.generate(text(STAR, DISC), low=low, level=level, steps=2, seed=seed)
    )
    assert torch.equal(draw(0.3), draw(0.3))
    assert not torch.allclose(draw(0.3), draw(0.0), atol=1e-4)
    assert torch.equal(draw(None), draw(0.1))


# Sampling


def test_the_same_seed_gives_the_same_pictures_and_the_text_matters():
    system = awake(ImagenStage(BASE))
    one, again = (last(system.generate(text(STAR, DISC), steps=3, seed=4)) for _ in range(2))
    assert torch.equal(one, again) and one.shape == (2, 3, 16, 16)
    assert not torch.equal(one, last(system.generate(text(DISC, STAR), steps=3, seed=4)))


def test_scale_zero_does_not_listen_and_scale_one_is_the_plain_model():
    system = awake(ImagenStage(BASE))
    unguided = [last(system.generate(text(t), steps=3, scale=0)) for t in (STAR, None)]
    assert torch.allclose(*unguided, atol=1e-5)
    scaled = [last(system.generate(text(STAR), steps=3, scale=s)) for s in (1, 3)]
    assert not torch.allclose(*scaled, atol=1e-4)


def test_thresholding_may_be_chosen_and_is_dynamic_unless_it_is():
    system, options = awake(ImagenStage(BASE)), {"steps": 3, "scale": 1e4}
    usual, dynamic, static = (
        last(system.generate(text(STAR), map_x0=fn, **options))
        for fn in (None, dynamic_threshold(0.995), clip)
    )
    assert torch.equal(usual, dynamic) and not torch.allclose(usual, static, atol=1e-4)
    assert usual.abs().max() <= 1.0 + 1e-6


def test_the_cascade_draws_from_small_to_large_and_says_which_stage_it_is():
    states = list(whole().generate([STAR, DISC], steps={"base": 3, "sr32": 2, "sr64": 1}))
    assert [state.stage for state in states] == ["base"] * 3 + ["sr32"] * 2 + ["sr64"]
    assert [state.x.shape[-1] for state in states] == [16] * 3 + [32] * 2 + [64]


def test_each_stage_is_told_what_the_one_before_it_drew_and_the_same_text():
    made, generator = whole(), torch.Generator().manual_seed(5)
    cond, state = made.encode([STAR]), None
    for name, level in (("base", None), ("sr32", 0.3), ("sr64", 0.0)):
        low = {} if state is None else {"low": state.pictures, "level": level}
        *_, state = made.stages[name].generate(cond, steps=2, scale=1.0, seed=generator, **low)
    whole_way = made.generate(STAR, steps=2, scale=1.0, level={"sr32": 0.3, "sr64": 0.0}, seed=5)
    assert torch.equal(last(whole_way), state.x)


def test_one_level_is_for_all_that_make_pictures_larger():
    made = whole()
    one, each = (
        last(made.generate(STAR, steps=1, level=level))
        for level in (0.4, {"sr32": 0.4, "sr64": 0.4})
    )
    assert torch.equal(one, each)
    assert not torch.equal(one, last(made.generate(STAR, steps=1)))


def test_none_is_no_text_and_the_encoder_is_frozen():
    made = whole()
    cond = made.encode([None, STAR])
    assert not cond.mask[0].any() and cond.mask[1].any() and not cond.tokens[0].any()
    assert torch.equal(made.encode([None]).mask, torch.zeros_like(made.encode([None]).mask))
    assert not any(weight.requires_grad for weight in made.text.parameters())
    assert last(made.generate([None], steps=1)).isfinite().all()


def test_a_file_holds_the_whole_cascade(tmp_path):
    made = whole()
    model_file.save(tmp_path / "imagen.safetensors", made)
    again = model_file.load(tmp_path / "imagen.safetensors")
    assert isinstance(again, Imagen) and list(again.stages) == ["base", "sr32", "sr64"]
    assert again.stages["sr64"].config == SR64
    assert last(again.generate(STAR, steps=1)).shape == (1, 3, 64, 64)


# What is remembered


def test_what_was_read_once_is_not_read_again():
    asked = []

    class Counting:
        def encode(self, texts):
            asked.extend(texts)
            return text(*texts)

    known = Remembering(Counting())
    first, again = (known.encode([STAR, DISC, STAR]) for _ in range(2))
    assert asked == [STAR, DISC] and torch.equal(first.tokens, again.tokens)
    direct = text(STAR, DISC, STAR)
    assert torch.equal(first.mask, direct.mask) and first.tokens.dtype == torch.float16
    assert torch.allclose(first.tokens.float(), direct.tokens, atol=5e-3)
    assert awake(ImagenStage(BASE)).loss((pictures(3), first)).isfinite()


def test_it_forgets_the_oldest_where_there_is_no_room():
    known = Remembering(reader(), most=2)
    assert known.encode([STAR, DISC, "a star"]).tokens.shape[0] == 3
    assert list(known.known) == [DISC, "a star"]
    assert known.encode("a star").tokens.shape == (1, 4, 16)
    assert known.config == READS and not embedded(known, [None, None]).mask.any()


# What is refused


@pytest.mark.parametrize(
    ("config", "options", "says"),
    [
        (BASE, {"low": pictures(2, 8)}, "makes no picture larger"),
        (BASE, {"level": 0.1}, "level was given"),
        (SR32, {}, "16 pixels a side larger"),
        (SR32, {"low": pictures(2, 32)}, "low has shape"),
        (SR32, {"low": 100 * pictures(2, 16)}, "lie in"),
        (SR32, {"low": pictures(2, 16), "level": 1.5}, "level is 1.5, .* from 0 to 1"),
        (SR32, {"low": pictures(2, 16), "level": -0.1}, "level is -0.1"),
        (replace(BASE, p_uncond=0.0), {"scale": 2.0}, "no null"),
        (BASE, {"scale": float("nan")}, "finite"),
        (BASE, {"seed": -1}, "seed is -1"),
    ],
)
def test_what_a_stage_cannot_do_gets_one_sentence(config, options, says):
    with pytest.raises(ValueError, match=f"^[^\n]*{says}[^\n]*$"):
        awake(ImagenStage(config)).generate(text(STAR, DISC), **options)


TEXT = text(STAR, DISC)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (STAR, "the text is 'a red star', but this model hears embeddings"),
        (4, "the text is 4, but .* as a part of Imagen"),
        ([STAR], "hears embeddings"),
        (TEXT._replace(mask=None), "hears embeddings"),
        (Conditioning(vector=torch.zeros(2, 12)), "hears embeddings"),
        (TEXT._replace(vector=torch.zeros(2, 12)), "has 'vector', for which .* no route"),
        (TEXT._replace(image=pictures()), "has 'image', for which .* no route"),
        (TEXT._replace(tokens=torch.zeros(2, 10, 24)), r"shape \(2, 10, 24\), .* \(2, 10, 16\)"),
        (TEXT._replace(mask=TEXT.mask.float()), "mask is torch.float32"),
    ],
)
def test_what_is_no_embedding_is_neither_drawn_nor_learned_from(given, says):
    system = awake(ImagenStage(BASE))
    for call in (lambda: system.generate(given), lambda: system.loss((pictures(), given))):
        with pytest.raises(ValueError, match=f"^[^\n]*{says}[^\n]*$"):
            call()


@pytest.mark.parametrize("config", [BASE, SR32, SR64])
def test_pictures_of_another_size_are_not_learned_from(config):
    net = config.net
    for wrong in (pictures(2, 2 * net.size), pictures(2, net.size // 2), torch.zeros(2, 1, 16, 16)):
        with pytest.raises(ValueError, match=f"^[^\n]*, 3, {net.size}, {net.size}[^\n]*$"):
            awake(ImagenStage(config)).loss((wrong, TEXT))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level": 2.0}, "level is 2"),
        ({"level": {"base": 0.1}}, "level was given"),
        ({"level": {"sr23": 0.1}}, "did you mean 'sr32'"),
        ({"steps": {"sr64": 10**6}}, "steps"),
        ({"low": pictures(2, 16)}, "leave out low"),
        ({"known": None}, "leave out known"),
        ({"prompts": [""]}, "must say something"),
        ({"prompts": []}, "at least one sentence"),
    ],
)
def test_what_the_cascade_cannot_do_is_said_at_the_call(options, says):
    with pytest.raises(ValueError, match=says):
        whole().generate(**{"prompts": [STAR, DISC]} | options)


@pytest.mark.parametrize("p", [0, -0.5, 1.5])
def test_a_share_outside_0_to_1_is_no_threshold(p):
    with pytest.raises(ValueError, match="^[^\n]*p is [^\n]*$"):
        dynamic_threshold(p)


def test_stages_that_do_not_fit_are_refused():
    base, larger = ImagenStage(BASE), ImagenStage(SR64)
    with pytest.raises(ValueError, match="matching sizes"):
        Imagen(reader(), base=base, sr64=larger)
    other = T5(replace(READS, width=24))
    with pytest.raises(ValueError, match="tokens of length 16, .* have 24"):
        Imagen(other, base=base)
    assert all(weight.requires_grad for weight in other.parameters())  # refused, not frozen
    with pytest.raises(ValueError, match="stage base is a T5, but must be an ImagenStage"):
        Imagen(reader(), base=other)
    with pytest.raises(ValueError, match="2 pictures and 1 texts"):
        base.loss((pictures(), text(STAR)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"upsamples": 8}, "net.image is 0, but must be 3"),
        ({"upsamples": 16}, "upsamples is 16, but .* from 1 to 15"),
        ({"crop": 17}, "crop is 17"),
        ({"crop": 9}, "multiples of 2"),
        ({"pool_heads": 3}, "pool_heads that divide"),
        ({"net": replace(NET, tokens=None)}, "net.tokens is None"),
        ({"net": replace(NET, vector=None)}, "net.vector is None"),
        ({"p_uncond": 2}, "p_uncond is 2"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(BASE, **change)
