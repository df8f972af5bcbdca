"""Writes golden/gpt2-tokenizer: a small byte-level BPE in GPT-2's file layout, and token ids of texts and pairs.

    python gpt2_tokens.py ../src/main/resources/golden/gpt2-tokenizer

Made with transformers 5.18, tokenizers 0.22. The ids are what FusionBench's call gives: truncation=True,
max_length=512, pairs as two texts; its padding is taken off again by the mask.
"""
import gzip
import json
import os
import random
import sys

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
corpus = [
    "The company said on Tuesday that it expects higher earnings for the third quarter.",
    "How do I learn to play the guitar? What is the best way to learn guitar at home?",
    "A gripping, funny and deeply moving film that doesn't overstay its welcome.",
    "John's mother didn't think they'd've finished; she'll ask again in 2024.",
    "In which year was the university founded? The university was founded in 1869.",
]
bpe = Tokenizer(models.BPE())
bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bpe.train_from_iterator(corpus * 20, trainers.BpeTrainer(
    vocab_size=460, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
files = bpe.model.save(out)
with open(os.path.join(out, "vocab.json")) as f:
    vocab = json.load(f)
vocab["<|endoftext|>"] = len(vocab)
with open(os.path.join(out, "vocab.json"), "w") as f:
    json.dump(vocab, f, ensure_ascii=False)

tokenizer = GPT2Tokenizer.from_pretrained(out)
tokenizer.model_max_length = 512
tokenizer.pad_token = tokenizer.unk_token
words = " ".join(corpus).split()
random.seed(3)


def text(n):
    return " ".join(random.choice(words) for _ in range(n))


cases = [(t, None) for t in corpus] + [
    ("", None), (" ", None), ("  two  spaces\tand a tab\n", None), ("na\u00efve caf\u00e9 \u2014 \u4f60\u597d \U0001f600", None),
    ("ends here<|endoftext|>", None), ("<|endoftext|> begins", None),
    (corpus[0], corpus[1]), (corpus[2], ""), ("", corpus[3]), ("no space", "between"),
    (text(400), None), (text(300), text(300)), (text(400), "short"), ("short", text(400)), (text(90), text(400)),
]
rows = []
for first, second in cases:
    pair = (first,) if second is None else (first, second)
    t = tokenizer(*pair, padding="max_length", truncation=True, max_length=512)
    assert len(t["input_ids"]) == 512
    rows.append({"first": first, "second": second, "ids": t["input_ids"][:sum(t["attention_mask"])]})
with gzip.GzipFile(os.path.join(out, "cases.json.gz"), "wb", mtime=0) as f:
    f.write(json.dumps(rows).encode())
bare = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
bare.enable_truncation(7)  # settings that a reader has to ignore
bare.enable_padding(length=9)
bare.save(os.path.join(out, "tokenizer.json"), pretty=False)
print([len(r["ids"]) for r in rows])
