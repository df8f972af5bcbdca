"""Writes config-defaults.json: what configuration classes of transformers take for keys that a
config.json leaves out, and the other names that they have for keys.

python config_defaults.py > java/checkpoint/src/main/resources/org/fishermerge/checkpoint/config-defaults.json
"""

import dataclasses
import json

import transformers
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

TYPES = """albert bart beit bert blip bloom clip clip_text_model clip_vision_model cohere convnext deberta
deberta-v2 deit dinov2 distilbert electra falcon gemma gemma2 gemma3_text gpt2 gpt_bigcode gpt_neo gpt_neox gptj
granite llama mamba mistral mixtral modernbert mpt mt5 olmo olmo2 opt phi phi3 qwen2 qwen2_moe qwen3 qwen3_moe
resnet roberta siglip siglip_text_model siglip_vision_model smollm3 stablelm starcoder2 swin swinv2 t5 vit vit_mae
wav2vec2 whisper xlm-roberta""".split()
# What never matters to a model's function need not be here.
LEFT_OUT = ("dropout", "pdrop", "initializer_", "layerdrop", "drop_path", "init_std", "mask_time", "mask_feature")

COMMON = {field.name for field in dataclasses.fields(PreTrainedConfig)}


def described(config):
    nested = getattr(config, "sub_configs", {}) or {}
    defaults = {}
    for field in dataclasses.fields(config):
        if field.name in COMMON or field.name in nested or field.name.startswith("_"):
            continue
        if any(part in field.name for part in LEFT_OUT) or field.name == "use_cache":
            continue
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            continue
        defaults[field.name] = list(value) if isinstance(value, tuple) else value
    out = {"defaults": defaults}
    if config.attribute_map:
        out["aliases"] = dict(config.attribute_map)
    if "rope_parameters" in defaults:
        out["rope_theta"] = config.default_theta
    return out


types = ",\n".join(f"{json.dumps(name)}: {json.dumps(described(CONFIG_MAPPING[name]))}" for name in TYPES)
print(f'{{"transformers": "{transformers.__version__}", "types": {{\n{types}\n}}}}')
