"""Writes tokenizer_folders.json.gz: tokenizer folders in every layout, texts, and their ids by transformers.

    python tokenizer_folders.py ../../data/src/test/resources/tokenizer_folders.json.gz

Made with transformers 5.18, tokenizers 0.23. GPT-2's tokenizers are called as FusionBench calls them (padding to a
maximum, truncation, batches of texts and of pairs; padding is taken off again by the mask), CLIP's with truncation.
What is left of two long texts is even: which of them keeps one token more depends on the version of tokenizers.
"""
import copy
import gzip
import json
import os
import random
import sys
import tempfile

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

random.seed(17)
corpus = [
    "The company said on Tuesday that it expects higher earnings for the third quarter.",
    "How do I learn to play the guitar? What is the best way to learn guitar at home?",
    "A gripping, funny and deeply moving film that doesn't overstay its welcome.",
    "John's mother didn't think they'd've finished; she'll ask again in 2024, I'm sure we're late.",
    "a photo of a cat, a photo of the dog, an aerial photograph of a railway station, an origami crane",
    "Der Bär läuft über die Straße. Où est la bibliothèque? ¿Dónde está el niño?",
]


def byte_level(**kwargs):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, **kwargs)


def train(suffix, pre):
    bpe = Tokenizer(models.BPE(end_of_word_suffix=suffix) if suffix else models.BPE())
    bpe.pre_tokenizer = pre
    bpe.train_from_iterator(corpus * 10, trainers.BpeTrainer(
        vocab_size=700 if suffix else 420, end_of_word_suffix=suffix, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    merges = [tuple(m) for m in json.loads(bpe.to_str())["model"]["merges"]][:160]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = alphabet + ([c + suffix for c in alphabet] if suffix else []) + [a + b for a, b in merges]
    return {t: i for i, t in enumerate(dict.fromkeys(tokens))}, merges


clip_words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
gpt2_vocab, gpt2_merges = train("", byte_level())
gpt2_vocab["<|endoftext|>"] = len(gpt2_vocab)
clip_vocab, clip_merges = train("</w>", pre_tokenizers.Sequence(
    [pre_tokenizers.Split(clip_words, "removed", invert=True), byte_level()]))
clip_vocab["<|startoftext|>"] = len(clip_vocab)
clip_vocab["<|endoftext|>"] = len(clip_vocab)


def pieces(vocab, merges):
    return {"vocab.json": json.dumps(vocab, ensure_ascii=False),
            "merges.txt": "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)}


def load(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(content if isinstance(content, str) else json.dumps(content))
        return AutoTokenizer.from_pretrained(folder)


GPT2 = {**pieces(gpt2_vocab, gpt2_merges), "config.json": {"model_type": "gpt2"}}
CLIP = {**pieces(clip_vocab, clip_merges), "config.json": {"model_type": "clip"}}


def whole(base, change=lambda root: None):
    root = json.loads(load(base).backend_tokenizer.to_str())
    change(root)
    return {"config.json": base["config.json"], "tokenizer.json": root}


def token(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, **flags}


def added(content, id, **flags):
    return {"id": id, **token(content, special=False, **flags)}


def typed(content, **flags):
    return {"__type": "AddedToken", **token(content, **flags)}


n, c = len(gpt2_vocab), len(clip_vocab)
END = "<|endoftext|>"


def in_file(root):  # what the class does not take from the file, and what it takes
    root["pre_tokenizer"]["add_prefix_space"] = True
    root["truncation"] = {"direction": "Left", "max_length": 5, "strategy": "OnlyFirst", "stride": 1}
    root["added_tokens"].append(added("[SEP]", n))


def own(root):  # what only a class that takes the file as it is reads
    bare = Tokenizer(models.BPE())
    bare.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    bare.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level()])
    made = json.loads(bare.to_str())
    root["normalizer"], root["pre_tokenizer"] = made["normalizer"], made["pre_tokenizer"]
    root["added_tokens"] += [added("[SEP]", n, normalized=True), added("[CLS]", n + 1)]
    root["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [n + 1], "tokens": ["[CLS]"]},
                           "[SEP]": {"id": "[SEP]", "ids": [n], "tokens": ["[SEP]"]}}}


def clip_file(root):
    root["normalizer"] = {"type": "NFC"}
    root["added_tokens"].append(added("[SEP]", c, normalized=True))


hub_clip = {"errors": "replace", "add_prefix_space": False, "do_lower_case": True, "model_max_length": 77,
            "name_or_path": "openai/clip", "special_tokens_map_file": "./special_tokens_map.json",
            "unk_token": typed(END, normalized=True), "bos_token": typed("<|startoftext|>", normalized=True),
            "eos_token": typed(END, normalized=True), "pad_token": END, "tokenizer_class": "CLIPTokenizer"}
generic = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": END}
folders = {
    "gpt2 a: tokenizer.json": (whole(GPT2), 40),
    "gpt2 a: with settings inside": (whole(GPT2, in_file), 12),
    "gpt2 b: prefix space, left": ({**whole(GPT2, in_file), "tokenizer_config.json": {
        "add_prefix_space": True, "truncation_side": "left", "add_bos_token": True}}, 12),
    "gpt2 b: truncation_side wins over the file": ({**whole(GPT2, in_file), "tokenizer_config.json": {
        "truncation_side": "right"}}, 12),
    "gpt2 b: decoder, not the older files": ({**whole(GPT2, in_file), "tokenizer_config.json": {
        "pad_token": "[PAD]", "sep_token": "[SEP]", "added_tokens_decoder": {
            str(n): token("[SEP]", lstrip=True, rstrip=True, special=True), str(n + 3): token("[PAD]", special=True),
            str(n + 1): token("cat", single_word=True, special=False)}},
        "special_tokens_map.json": {"cls_token": "[CLS]"}, "added_tokens.json": {"dog": n + 2}}, 40),
    "gpt2 b: all older files": ({**whole(GPT2, in_file), "tokenizer_config.json": {"pad_token": "!"},
        "special_tokens_map.json": {"cls_token": "[CLS]", "pad_token": token("[PAD]", lstrip=True)},
        "added_tokens.json": {"dog": n + 9, "[PAD]": n + 2, "photo of": n + 1}}, 40),
    "gpt2 b: split": ({**whole(GPT2, in_file), "tokenizer_config.json": {
        "split_special_tokens": True, "sep_token": "[SEP]"}}, 40),
    "gpt2 b: as it is": ({**whole(GPT2, own), "tokenizer_config.json": generic}, 40),
    "gpt2 b: as it is, cut left": ({**whole(GPT2, own), "tokenizer_config.json": {
        **generic, "truncation_side": "left"}}, 12),
    "gpt2 b: as it is, other flags": ({**whole(GPT2, own), "tokenizer_config.json": {
        **generic, "pad_token": "[PAD]", "added_tokens_decoder": {
            str(n): token("[SEP]", lstrip=True, special=True), str(n + 7): token("[X]", special=False)}}}, 40),
    "gpt2 c: pieces": (GPT2, 512),
    "gpt2 c: no config.json": ({k: v for k, v in GPT2.items() if k != "config.json"}, 40),
    "gpt2 d: prefix space": ({**GPT2, "tokenizer_config.json": {"add_prefix_space": True}}, 40),
    "gpt2 d: bos": ({**GPT2, "tokenizer_config.json": {"add_bos_token": True}}, 40),
    "gpt2 d: bos and eos, left": ({**GPT2, "tokenizer_config.json": {
        "tokenizer_class": "GPT2TokenizerFast", "add_bos_token": True, "add_eos_token": True, "bos_token": "<s>",
        "eos_token": typed("</s>", lstrip=True), "truncation_side": "left", "model_max_length": 7}}, 16),
    "gpt2 d: no bos to add": ({**GPT2, "tokenizer_config.json": {"bos_token": None, "add_bos_token": True}}, 40),
    "gpt2 d: added, out of order": ({**GPT2, "added_tokens.json": {
        "[SEP]": n + 40, "cat": n, " the": n + 2, "[SEP]x": n + 1, "ä": n + 3}}, 40),
    "gpt2 d: older files": ({**GPT2, "tokenizer_config.json": {"sep_token": "[SEP]", "pad_token": "[PAD]"},
        "special_tokens_map.json": {"bos_token": token(END, normalized=True), "additional_special_tokens": ["[X]"],
                                    "mask_token": token("[MASK]", lstrip=True), "image_token": "[Y]"},
        "added_tokens.json": {"[SEP]": n, "[X]": n + 2, "[MASK]": n + 1}}, 40),
    "gpt2 d: extra tokens": ({**GPT2, "tokenizer_config.json": {
        "additional_special_tokens": ["[SEP]", typed("cat", single_word=True)], "image_token": "[X]"},
        "special_tokens_map.json": {"additional_special_tokens": ["[Y]"]}}, 40),
    "gpt2 d: extra tokens by name": ({**GPT2, "tokenizer_config.json": {
        "extra_special_tokens": {"a_token": "[X]"}, "additional_special_tokens": ["[SEP]"], "pad_token": "[PAD]"},
        "special_tokens_map.json": {"extra_special_tokens": ["[Y]"]}}, 40),
    "gpt2 d: split, bos": ({**GPT2, "tokenizer_config.json": {
        "split_special_tokens": True, "add_bos_token": True, "bos_token": "[CLS]"},
        "added_tokens.json": {"[CLS]": n + 1, "[SEP]": n}}, 40),
    "clip a: tokenizer.json": (whole(CLIP), 40),
    "clip a: with settings inside": (whole(CLIP, clip_file), 12),
    "clip b: the hub's": ({**whole(CLIP), "tokenizer_config.json": hub_clip, "special_tokens_map.json": {
        "bos_token": token("<|startoftext|>", normalized=True), "eos_token": token(END, normalized=True),
        "unk_token": token(END, normalized=True), "pad_token": END}}, 40),
    "clip b: decoder": ({**whole(CLIP), "tokenizer_config.json": {**hub_clip, "added_tokens_decoder": {
        str(c - 2): token("<|startoftext|>", normalized=True, special=True),
        str(c - 1): token(END, special=True), str(c): token("CAT", normalized=True, special=False)}}}, 40),
    "clip b: as it is": ({**whole(CLIP, clip_file), "tokenizer_config.json": {**generic, "pad_token": "!"}}, 40),
    "clip c: pieces": (CLIP, 77),
    "clip d: left": ({**CLIP, "tokenizer_config.json": {**hub_clip, "truncation_side": "left"}}, 9),
    "clip d: added": ({**CLIP, "tokenizer_config.json": {"add_bos_token": False, "pad_token": "[PAD]"},
        "added_tokens.json": {"[SEP]": c + 1, "[PAD]": c, "Dog": c + 2}}, 40),
    "clip d: split, other ends": ({**CLIP, "tokenizer_config.json": {
        "split_special_tokens": True, "bos_token": "[CLS]", "eos_token": "[SEP]"}}, 40),
}

fixed = [
    "", " ", "   ", "\n", "\t\t", " \r\n ", "a", "A", "I'm", "they'd've", "don't DON'T Don’t", "it's John's 'quoted'",
    "'s 't 're 've 'm 'll 'd 'S", "1", "12", "2024", "3.14159", "1,000,000", "¼ ½ ² ³ Ⅷ", "٣٤٥", "一二三", "x2y3z",
    "[SEP]", "a[SEP]b", "a [SEP] b", "  [SEP]  [PAD]\t[CLS] ", "[SEP]x [SEP] x", "[X][Y][X]", "[MASK] it [MASK]", "[sep]",
    END, "a" + END, END + END, " " + END + " ", "<|startoftext|>a photo" + END, "<|ENDOFTEXT|>", "<|endoftext|", "<s>a</s>",
    "cat", "Cat CAT cats concat the cat. cat", "dog Dog DOG hotdog", "photo of", "a photo of the dog", " the the",
    "ä", "a\u0308", "A\u0308 \u00c4", "é e\u0301", "ﬁ ﬀ", "ẛ̣", "Å Å", "ǆ ǅ Ǆ", "İ i̇ ı I", "ß ẞ SS", "ΑΣ ας σ", "한국어 \u1112\u1161\u11ab",
    "你好，世界！", "日本語のテキスト、カタカナ", "ｆｕｌｌｗｉｄｔｈ １２３", "العَرَبِيَّة نص", "שָׁלוֹם עולם", "हिन्दी देवनागरी", "ไทยภาษา", "Здравствуй, мир",
    "😀", "👩‍👩‍👧‍👦 family", "🇩🇪🇫🇷", "👍🏽👍", "☃️ ☃", "𝕬𝖇𝖈 𐍈", "\U0010fffd", "\u200b\u200c\u200d", "a\u00a0b\u2003c\u3000d", "\ufeffbom",
    "\u202eabc\u202c", "\x00", "a\x00b", "\x01\x02\x1b[0m", "\x7f\x80\x9f", "\ufffd\ufffe", "\u2028\u2029", "\x0b\x0c\x85",
    "tab\tseparated\tvalues", "line\nbreaks\r\nand\rmore", "  leading and trailing  ", "many     spaces          here",
    "...", "?!?!", "---", "___", "C++ & C#", "a/b\\c", "{\"key\": [1, 2]}", "<b>html</b> &amp; more", "http://x.org/?q=1&r=%20",
    "e-mail: someone@example.org", "#hashtag @name", "Ġ Ċ Ā </w> Ġthe", "Ġ", "</w>", "cat</w>", "``quotes'' “curly” ‘single’",
    "x" * 300, "ab " * 150, "😀" * 40, "日本" * 60, "\n" * 50, "a" + "\u0301" * 30, "!" * 100, "0123456789" * 12,
]
words = " ".join(corpus).split() + ["[SEP]", END, "cat", "dog", "[X]", "😀", "naïve", "日本", "\t", "  ", "\n", "1869", "ä", "it's"]


def mixed(length):
    return "".join(random.choice(words) + random.choice([" ", " ", " ", "", "  ", ", "]) for _ in range(length))


def soup(length):
    ranges = [(0x20, 0x7e), (0xa0, 0x17f), (0x300, 0x36f), (0x400, 0x45f), (0x5d0, 0x5ea), (0x4e00, 0x4eff), (0x1f600, 0x1f64f),
              (0x0, 0x1f), (0x2000, 0x206f), (0x1d400, 0x1d4ff)]
    return "".join(chr(random.randint(*random.choice(ranges))) for _ in range(length))


singles = fixed + [mixed(random.randint(1, 14)) for _ in range(80)] + [soup(random.randint(1, 14)) for _ in range(60)]
singles += [mixed(250), mixed(60), mixed(30)]
pairs = [(random.choice(singles[:-3]), random.choice(singles[:-3])) for _ in range(56)]
pairs += [("", ""), ("a", ""), ("", "b"), (mixed(60), "short"), ("short", mixed(60)), (mixed(40), mixed(40))]


def ids(tokenizer, texts, clip, most):
    if clip:
        t = tokenizer(texts, padding=True, truncation=True, max_length=most)
    else:
        tokenizer.model_max_length = most
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.unk_token if tokenizer.unk_token is not None else tokenizer.eos_token
        first, second = texts if isinstance(texts, tuple) else (texts, None)
        t = tokenizer(first, second, padding="max_length", truncation=True)
    return [i[:sum(m)] for i, m in zip(t["input_ids"], t["attention_mask"])]


rows = []
for name, (files, most) in folders.items():
    clip = name.startswith("clip")
    # Without a config.json the class is that of FusionBench's call.
    loaded = files if "config.json" in files else {**files, "config.json": {"model_type": "gpt2"}}
    tokenizer = load(copy.deepcopy(loaded))
    row = {"name": name, "most": most, "singles": ids(tokenizer, singles, clip, most)}
    if not clip:
        row["pairs"] = ids(tokenizer, tuple(map(list, zip(*pairs))), clip, most)
    row["pad"] = tokenizer.pad_token_id
    row["files"] = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in files.items()}
    rows.append(row)
    print(name, type(tokenizer).__name__, sum(map(len, row["singles"])))
with gzip.GzipFile(sys.argv[1], "wb", compresslevel=9, mtime=0) as f:
    f.write(json.dumps({"singles": singles, "pairs": pairs, "folders": rows}, separators=(",", ":")).encode())
print(len(singles), "texts,", len(pairs), "pairs,", len(rows), "folders,", os.path.getsize(sys.argv[1]), "bytes")
