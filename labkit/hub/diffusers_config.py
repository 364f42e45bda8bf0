"""What the weights of a latent diffusion model do not show: the configurations that the diffusers
and transformers libraries keep beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labkit.hub.files import present
from labkit.inputs import listed, one_of, short
from labkit.systems.ldm_config import LDMConfig

PREDICTS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
# Of each schedule its name there, and its first and last β for T = 1000, where it has any.
SCHEDULES = {
    "scaled_linear": ("scaled_linear", (0.00085, 0.012)),
    "linear": ("linear", (0.0001, 0.02)),
    "cosine": ("squaredcos_cap_v2", ()),
}


def read_config(path: Path) -> dict[str, Any]:
    """What a configuration says. Raises FileNotFoundError or ValueError for none."""
    present(path, "is no configuration")
    try:
        given = json.loads(path.read_text("utf-8"))
        given.keys()
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is cut short or is no configuration ({short(error)}): fetch it again"
        ) from None
    return given


def check_configs(folder: Path, config: LDMConfig) -> None:
    """Raises ValueError, naming all of it, unless the configurations agree with that one in what
    weights do not show. What does not stand in them has the libraries' defaults."""
    net, pixels, text = config.net, config.autoencoder, config.text
    schedule, betas = SCHEDULES[one_of(config.schedule, SCHEDULES, "schedule of a release")]
    ends = zip(("beta_start", "beta_end"), (0.0001, 0.02), betas)
    expected = {  # of each key its default, and what it must be
        "unet/config.json": {
            "attention_head_dim": (8, net.heads),  # their number, in spite of the name
            "norm_num_groups": (32, net.groups),
            "norm_eps": (1e-5, net.norm_eps),
            "act_fn": ("silu", "silu"),
            "flip_sin_to_cos": (True, not net.sin_first),
            "freq_shift": (0, int(net.sin_first)),
            "center_input_sample": (False, False),
            "mid_block_scale_factor": (1, 1),
            "downsample_padding": (1, int(not net.asymmetric_pad)),
            "resnet_time_scale_shift": ("default", "default"),
            "resnet_skip_time_act": (False, False),
            "resnet_out_scale_factor": (1, 1),
            "only_cross_attention": (False, False),
            "time_embedding_act_fn": (None, None),
            "timestep_post_act": (None, None),
            "num_attention_heads": (None, None),
        },
        "vae/config.json": {
            "norm_num_groups": (32, pixels.groups),
            "act_fn": ("silu", "silu"),
            "shift_factor": (None, None),
        },
        "text_encoder/config.json": {
            "hidden_act": ("quick_gelu", "quick_gelu"),
            "layer_norm_eps": (1e-5, 1e-5),
            "num_attention_heads": (8, text.heads),
        },
        "scheduler/scheduler_config.json": {
            "beta_schedule": ("linear", schedule),
            "trained_betas": (None, None),
            "rescale_betas_zero_snr": (False, False),
            "num_train_timesteps": (1000, config.T),
            "prediction_type": ("epsilon", PREDICTS[config.predicts]),
        }
        | {name: (default, own * (1000 / config.T)) for name, default, own in ends},
    }
    odd = []
    for name, keys in expected.items():
        given = read_config(folder / name)
        for key, (default, own) in keys.items():
            value = given.get(key, default)
            if value != own:
                odd.append(f"{name}: {key} is {short(value)} instead of {own!r}")
    if odd:
        raise ValueError(
            f"{folder} holds another model, which computes something else with its weights: "
            f"{listed(odd, len(odd))}; give the configuration that belongs to it"
        )
