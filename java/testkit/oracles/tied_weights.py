"""Writes java/checkpoint's tied-weights.txt: which model types of transformers tie weights, and which names.

A line is: model_type, whether tie_word_embeddings is "yes", "no" or "always" where config.json does not state it
(always: whatever it states), then pairs target=source of names without the prefix of an outer model. "*" stands
for pairs that are patterns over modules, which the table does not hold. Types that tie nothing are left out.

    python tied_weights.py > ../../checkpoint/src/main/resources/org/fishermerge/checkpoint/tied-weights.txt
"""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")

import transformers  # noqa: E402
from transformers import models  # noqa: E402
from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: E402

transformers.logging.set_verbosity_error()
LITERAL = re.compile(r"[A-Za-z0-9_.]+")


def default(config_class):
    try:
        if not getattr(config_class(), "tie_word_embeddings", False):
            return "no"
    except Exception:
        return "no"
    try:
        return "always" if config_class(tie_word_embeddings=False).tie_word_embeddings else "yes"
    except Exception:
        return "yes"


def assigned(cls):
    """The dictionaries that constructors assign, where a configuration says so."""
    source = inspect.getsource(cls)
    for literal in re.findall(r"self\._tied_weights_keys = (\{[^}]+\})", source):
        try:
            yield ast.literal_eval(literal)
        except (ValueError, SyntaxError):
            yield {"[": "["}
    if re.search(r"self\._tied_weights_keys(\[|\.update)", source):
        yield {"[": "["}


pairs = {}
configs = {model_type: CONFIG_MAPPING[model_type] for model_type in CONFIG_MAPPING.keys()}
for package in pkgutil.iter_modules(models.__path__):
    folder = os.path.join(models.__path__[0], package.name)
    for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not re.fullmatch(r"modeling_\w+\.py", file):
            continue
        try:
            module = importlib.import_module(f"transformers.models.{package.name}.{file[:-3]}")
        except Exception:
            continue
        for value in vars(module).values():
            config = getattr(value, "config_class", None)
            if not isinstance(value, type) or not getattr(config, "model_type", ""):
                continue
            tied = getattr(value, "_tied_weights_keys", None)
            for ties in [tied if isinstance(tied, dict) else {}, *assigned(value)]:
                configs.setdefault(config.model_type, config)
                of_type = pairs.setdefault(config.model_type, set())
                for target, source in ties.items():
                    target, source = target.strip("^$"), source.strip("^$")
                    literal = LITERAL.fullmatch(target) and LITERAL.fullmatch(source)
                    parameter = re.search(r"weight|bias", target) and literal
                    of_type.add(f"{target}={source}" if parameter else "*")

for model_type in sorted(pairs):
    if pairs[model_type]:
        print(model_type, default(configs[model_type]), *sorted(pairs[model_type]))
