"""What transformers takes from config.json of CLIP and GPT-2, for ModelConfigTest.

python config_reading.py > java/checkpoint/src/test/resources/org/fishermerge/checkpoint/config-readings.json
"""

import json

from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig, GPT2Config

TOWER = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps"]
VISION = TOWER + ["image_size", "patch_size", "num_channels"]
TEXT = TOWER + ["vocab_size", "max_position_embeddings", "eos_token_id"]
GPT2 = [
    "n_embd", "n_layer", "n_head", "n_positions", "n_inner", "vocab_size", "activation_function", "layer_norm_epsilon",
    "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "pad_token_id",
]  # fmt: skip

CLIPS = [
    {},
    {"vision_config": None, "text_config": None, "vision_config_dict": None, "text_config_dict": None},
    {"vision_config": {"hidden_act": "gelu", "image_size": 32}, "text_config": {"eos_token_id": 2}},
    {"vision_config_dict": {"hidden_size": 24, "num_attention_heads": 3, "patch_size": 8, "hidden_act": "gelu"}},
    {"vision_config": {"hidden_act": "gelu", "patch_size": 16}, "vision_config_dict": {"patch_size": 14}},
    {"text_config": {"eos_token_id": 2, "hidden_act": "gelu"}, "text_config_dict": {"hidden_size": 768, "num_attention_heads": 12}},
    {"vision_config": {"layer_norm_eps": 1e-6, "num_channels": 4}, "vision_config_dict": {}},
]
GPT2S = [
    {},
    {"n_embd": 24, "n_head": 3, "hidden_size": 48},
    {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2, "max_position_embeddings": 40},
    {"n_ctx": 99, "n_inner": 7, "pad_token_id": -1, "scale_attn_weights": False},
    {"num_attention_heads": 6, "n_head": 3, "activation_function": "relu", "layer_norm_epsilon": 1e-6},
]


def taken(config, keys):
    return {key: getattr(config, key) for key in keys}


out = []
for stated in CLIPS:
    config = CLIPConfig(**json.loads(json.dumps(stated)))
    out.append({
        "stated": {"model_type": "clip"} | stated,
        "vision_config": taken(config.vision_config, VISION),
        "text_config": taken(config.text_config, TEXT),
    })
for kind, keys in (CLIPVisionConfig, VISION), (CLIPTextConfig, TEXT):
    stated = {"model_type": kind.model_type, "hidden_size": 24, "num_attention_heads": 2}
    out.append({"stated": stated, "top": taken(kind(**stated), keys)})
for stated in GPT2S:
    out.append({"stated": {"model_type": "gpt2"} | stated, "top": taken(GPT2Config(**stated), GPT2)})
print(json.dumps(out, indent=1))
