"""Small models with tied weights, and what transformers makes of their average.

    python tied_merge.py ../../cli/src/test/resources/tied      writes gpt2, bert and t5 (.safetensors, .json)
    python tied_merge.py --check FAMILY FOLDER                  compares a merged folder's logits with them

Each file holds "base.", "one." and "two." (state dictionaries; the base's with every name of a tied weight, as torch.save
and older files have them, two's as save_pretrained writes them, one's under another one of the names), and
"mean." (the state dictionary of the model whose parameters are the means of those of one and two, computed in float64),
with "logits" of "input_ids" under it. Made with transformers 5.18.
"""
import json
import os
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, T5Config,
                          T5ForConditionalGeneration)

FAMILIES = {
    "gpt2": (GPT2LMHeadModel, GPT2Config(vocab_size=13, n_embd=4, n_head=2, n_layer=1, n_positions=8,
                                         bos_token_id=0, eos_token_id=0)),
    "bert": (BertForMaskedLM, BertConfig(vocab_size=13, hidden_size=4, num_hidden_layers=1,
                                         num_attention_heads=2, intermediate_size=6,
                                         max_position_embeddings=8)),
    "t5": (T5ForConditionalGeneration, T5Config(vocab_size=13, d_model=4, d_kv=2, d_ff=6, num_layers=1,
                                                num_heads=2, decoder_start_token_id=0)),
}
SWAPPED = {"gpt2": ("transformer.wte.weight", "lm_head.weight"),
           "bert": ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
           "t5": ("shared.weight", "lm_head.weight")}


def logits(model, ids):
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model.eval()(input_ids=ids, **more).logits


def stored(model):
    """What save_pretrained writes: one name of each tied weight."""
    tied = model.all_tied_weights_keys
    return {name: value.clone() for name, value in model.state_dict().items() if name not in tied}


if sys.argv[1] == "--check":
    family, folder = sys.argv[2:]
    vectors = load_file(os.path.join(os.path.dirname(__file__), "../../cli/src/test/resources/tied", family + ".safetensors"))
    model, info = FAMILIES[family][0].from_pretrained(folder, output_loading_info=True)
    worst = (logits(model, vectors["input_ids"]) - vectors["logits"]).abs().max().item()
    print(family, "worst difference of logits", worst, "tied", len(model.all_tied_weights_keys), info["missing_keys"])
    sys.exit(worst > 1e-6)

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
for family, (cls, config) in FAMILIES.items():
    torch.manual_seed(17)
    models = [cls(config) for _ in range(3)]
    for model in models:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    base, one, two = models
    mean = cls(config)
    with torch.no_grad():
        for to, a, b in zip(mean.parameters(), one.parameters(), two.parameters()):
            to.copy_(((a.double() + b.double()) / 2).float())
    first = stored(one)
    name, other = SWAPPED[family]
    first[other] = first.pop(name)
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    tensors = {"input_ids": ids, "logits": logits(mean, ids)}
    for prefix, state in (("base", base.state_dict()), ("one", first), ("two", stored(two)), ("mean", mean.state_dict())):
        tensors.update({f"{prefix}.{key}": value.clone().contiguous() for key, value in state.items()})
    save_file(tensors, os.path.join(out, family + ".safetensors"))
    with open(os.path.join(out, family + ".json"), "w") as file:
        json.dump(config.to_diff_dict() | {"model_type": config.model_type, "tie_word_embeddings": True}, file, indent=1)
