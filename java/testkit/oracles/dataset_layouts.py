"""Writes what datasets makes of folders: which files are which split, and which rows a split's slice holds.

    python dataset_layouts.py ../../data/src/test/resources/org/fishermerge/data/files

Made with datasets 5.0.1, fsspec 2026.4. Files are empty but for README.md: only their names are looked at. A layout's
"config" is the name given to load_dataset, and its "data_dir" the sub-folder.
"""
import json
import os
import sys
import tempfile

import datasets

datasets.logging.set_verbosity_error()
datasets.disable_progress_bars()


def shards(prefix, count, of=None, suffix=".parquet"):
    return [f"{prefix}-{i:05d}-of-{of or count:05d}{suffix}" for i in range(count)]


def card(*configs):
    return "---\nconfigs:\n" + "".join(configs) + "---\n"


P = ".parquet"
LAYOUTS = {
    "data sharded": [*shards("data/train", 2), *shards("data/test", 1)],
    "data sharded, other names": [*shards("data/contrast", 1), *shards("data/train", 1), *shards("data/a.b", 1)],
    "data sharded with hash": ["data/train-00000-of-00001-0a1b2c3d4e5f.parquet"],
    "data sharded, matched": [*shards("data/validation_matched", 1), *shards("data/validation_mismatched", 1)],
    "data sharded, a dash": shards("data/my-split", 1),
    "data sharded beside others": [*shards("data/train", 1), "test.parquet", "extra/test.parquet"],
    "sharded at the root": [*shards("train", 2), *shards("test", 1)],
    "sharded at the root, other names": [*shards("contrast", 1), *shards("train", 1)],
    "only other names at the root": [*shards("contrast", 1), *shards("extra", 1)],
    "glue's mnli": [*shards("train", 1), *shards("validation_matched", 1), *shards("validation_mismatched", 1),
                    *shards("test_matched", 1)],
    "plain": ["train.parquet", "validation.parquet", "test.parquet"],
    "one file": ["foo.parquet"],
    "numbers": ["0000.parquet", "0001.parquet"],
    "parts": ["part-0.parquet", "part-1.parquet"],
    "numbered": ["train_0.parquet", "train_1.parquet", "test_0.parquet"],
    "numbered order": ["train-10.parquet", "train-2.parquet"],
    "training": ["training.parquet", "testing.parquet"],
    "dev": ["train.parquet", "dev.parquet"],
    "valid": ["train.parquet", "valid.parquet"],
    "val": ["train.parquet", "val.parquet", "evaluation.parquet"],
    "eval": ["train.parquet", "eval.parquet"],
    "two words for one split": ["val.parquet", "dev.parquet", "validation.parquet", "train.parquet"],
    "keyword in the middle": ["my-train-set.parquet", "my.test.set.parquet"],
    "keyword at the end": ["mnist_train.parquet", "mnist_test.parquet"],
    "no separator": ["mytrain.parquet", "mytest.parquet"],
    "no separator behind": ["trains.parquet", "tests.parquet"],
    "upper case": ["Train.parquet", "TEST.parquet"],
    "twice in a name": ["train-train-0.parquet", "test.parquet"],
    "two splits in a name": ["train-test-0.parquet", "train-0.parquet"],
    "folders": ["train/0000.parquet", "train/0001.parquet", "test/0000.parquet"],
    "converted": ["default/train/0000.parquet", "default/test/0000.parquet"],
    "converted, several": ["a/train/0000.parquet", "b/train/0000.parquet", "b/test/0000.parquet"],
    "converted in part": ["default/partial-train/0000.parquet", "default/partial-test/0000.parquet"],
    "folders before names": ["train/test.parquet", "test/a.parquet"],
    "folder names with more": ["my_train/a.parquet", "test-2020/b.parquet", "x.val.y/c.parquet"],
    "deep": ["a/b/c/d/e/f/train/g/h/0.parquet"],
    "a folder of one split, files of two": ["train/0.parquet", "test.parquet"],
    "sub-folders without words": ["a/x.parquet", "b/y.parquet"],
    "configurations without a card": ["a/train.parquet", "b/train.parquet"],
    "split in upper folder": ["data/train/a.parquet", "data/test/b.parquet"],
    "other files": ["train.parquet", "notes.txt", "train.csv", "LICENSE", ".gitattributes"],
    "more of another kind": ["train.parquet", "train.csv", "train_1.csv"],
    "a tie": ["train.csv", "train.parquet"],
    "a script of that name": ["0000.parquet", "train.py"],
    "a document of that name": ["train.parquet", "test.md"],
    "different kinds": ["train.parquet", "test.csv"],
    "hidden": [".train.parquet", "train.parquet", ".cache/train.parquet", "__x__/train.parquet"],
    "ignored": ["config.json", "dataset_info.json", "dataset_dict.json.bak", "train.parquet"],
    "upper-case ending": ["train.PARQUET"],
    "geoparquet": ["train.geoparquet"],
    "ending in the middle": ["train.parquet.bak"],
    "spaces": ["train 1.parquet", "my test.parquet"],
    "nothing": ["notes.md"],
    "pictures by class, a text as frequent": ["cat/1.png", "cat/2.jpg", "dog/1.JPEG", "dog/notes.txt"],
    "pictures by class": ["cat/1.png", "cat/2.jpg", "cat/3.png", "dog/1.JPEG", "dog/4.PNG", "dog/notes.txt"],
    "pictures, train and test as classes": ["train/1.png", "train/2.png", "test/1.png"],
    "pictures of mixed case": ["cat/1.Png", "dog/1.Png", "dog/2.png"],
    "pictures and other media": ["a/1.png", "a/2.png", "b/1.wav"],
    "pictures by split and class": ["train/cat/1.png", "train/dog/1.png", "test/dog/2.png"],
    "pictures with metadata": ["metadata.csv", "1.png", "sub/2.webp"],
    "pictures by split, metadata each": ["train/metadata.jsonl", "train/1.png", "test/metadata.jsonl", "test/1.png"],
    "pictures, one split only in names": ["train_1.png", "train_2.png", "test_1.png"],
    "a picture beside Parquet": ["data/train-00000-of-00001.parquet", "logo.png"],
    "a picture beside Parquet, by name": ["train.parquet", "train.png", "train_2.png"],
}
CARDS = {
    "card": (card("- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n"
                  "  - split: test\n    path: data/test-*\n"), None,
             [*shards("data/train", 2), *shards("data/test", 1), "data/train.csv"]),
    "card, mixed": (card("- config_name: default\n  data_files: data/train*\n"), None,
                    [*shards("data/train", 2), "data/train.csv"]),
    "card, two configurations, first": (
        card("- config_name: a\n  data_files: a/*.parquet\n", "- config_name: b\n  data_dir: b\n"), "a",
        ["a/x.parquet", "b/train.parquet", "b/test.parquet"]),
    "card, two configurations, second": (
        card("- config_name: a\n  data_files: a/*.parquet\n", "- config_name: b\n  data_dir: b\n"), "b",
        ["a/x.parquet", "b/train.parquet", "b/test.parquet"]),
    "card, no default": (
        card("- config_name: a\n  data_files: a/*.parquet\n", "- config_name: b\n  data_files: b/*\n"), None,
        ["a/x.parquet", "b/y.parquet"]),
    "card, marked default": (
        card("- config_name: a\n  data_files: a/*.parquet\n",
             "- config_name: b\n  default: true\n  data_files: b/*\n"), None, ["a/x.parquet", "b/y.parquet"]),
    "card, two defaults": (
        card("- config_name: default\n  data_files: a/*.parquet\n",
             "- config_name: b\n  default: true\n  data_files: b/*\n"), None, ["a/x.parquet", "b/y.parquet"]),
    "card, list of paths": (
        card("- config_name: default\n  data_files:\n  - split: train\n    path:\n    - b.parquet\n    - '[ac].parquet'\n"
             ), None, ["a.parquet", "b.parquet", "c.parquet"]),
    "card, same file twice": (
        card("- config_name: default\n  data_files:\n  - split: train\n    path: [a.parquet, '*.parquet']\n"), None,
        ["a.parquet", "b.parquet"]),
    "card, file missing": (
        card("- config_name: default\n  data_files:\n  - split: train\n    path: [a.parquet, c.parquet]\n"), None,
        ["a.parquet", "b.parquet"]),
    "card, pattern without files": (
        card("- config_name: default\n  data_files:\n  - split: train\n    path: train*\n"
             "  - split: test\n    path: test*\n"), None, ["train.parquet"]),
    "card, stars across folders": (
        card("- config_name: default\n  data_files: '**/*.parquet'\n"), None, ["a.parquet", "x/b.parquet"]),
    "card, stars in a word": (
        card("- config_name: default\n  data_files: '**.parquet'\n"), None, ["a.parquet", "x/b.parquet"]),
    "card, hidden asked for": (
        card("- config_name: default\n  data_files: '.x/*.parquet'\n"), None, [".x/a.parquet", "b.parquet"]),
    "card, split twice": (
        card("- config_name: default\n  data_files:\n  - split: train\n    path: a*\n  - split: train\n    path: b*\n"),
        None, ["a.parquet", "b.parquet"]),
    "card without configurations": ("---\nlicense: mit\n---\n", None, ["train.parquet"]),
    "card, a name that is not there": ("---\nlicense: mit\n---\n", "other", ["train.parquet"]),
    "sub-folder": (None, "data_dir:b", ["a/train.parquet", "b/train.parquet", "b/test/x.parquet"]),
}


def layout(name, files, readme=None, config=None):
    with tempfile.TemporaryDirectory() as root:
        root = os.path.join(root, "set")
        for file in files:
            os.makedirs(os.path.dirname(os.path.join(root, file)), exist_ok=True)
            open(os.path.join(root, file), "w").close()
        if readme:
            with open(os.path.join(root, "README.md"), "w") as f:
                f.write(readme)
        entry = {"name": name, "files": files, "readme": readme, "config": config}
        kwargs = {"name": config}
        if config and config.startswith("data_dir:"):
            kwargs = {"data_dir": config[9:]}
        try:
            builder = datasets.load_dataset_builder(root, **kwargs)
            if builder.name not in ("parquet", "imagefolder", "arrow"):
                entry["error"] = "module " + builder.name
            else:
                if readme and any(not f.endswith(".parquet") for fs in builder.config.data_files.values() for f in fs):
                    raise ValueError("other files than Parquet, on which its reader fails")
                entry["module"] = builder.name
                entry["splits"] = {str(s): [os.path.relpath(f, root) for f in fs]
                                   for s, fs in builder.config.data_files.items()}
        except Exception as e:  # whatever it says, it refuses
            entry["error"] = f"{type(e).__name__}: {e}".replace(root, "ROOT").split("\n")[0][:200]
        return entry


SIZES = {"train": 103, "test": 250, "tiny": 3}
SPECS = ["train", "train[:50%]", "train[50%:]", "train[:10]", "train[10:20]", "train[-5%:]", "train[:-5%]",
         "train[:10%]+test[:5%]", "train + test", "train[:0%]", "train[:1%]", "test[:1%]", "test[:3%]", "test[:5%]",
         "train[10%:20%]", "train[10:50%]", "train[50:1000]", "train[-10:]", "train[-1000:5]", "train[20:10]",
         "train[:]", "train[1_0:2_0]", "train[:50%](pct1_dropremainder)", "test[:50%](pct1_dropremainder)",
         "tiny[:50%](pct1_dropremainder)", "test[:50%](closest)", "test[:50](closest)", "test[:50%](floor)",
         "train[:101%]", "train[-100%:]", "tiny[:50%]", "tiny[:17%]", "tiny[:16%]", "tiny[50%:]", "none", "none[:5]",
         "train[:10%]+train[:10%]", "test[:10%](pct1_dropremainder)+test[:10%]", "all", "train[5]", "train[::2]",
         "train[:5.5%]", "train[a:b]", "", "train+", "train[-0%:]", "train[:10%", "train[-3:-1]", "train[5:5]"]


def slices(folder):
    for split, size in SIZES.items():
        datasets.Dataset.from_dict({"i": [f"{split}:{i}" for i in range(size)]}).to_parquet(
            os.path.join(folder, f"data/{split}-00000-of-00001.parquet"))
    for spec in SPECS:
        try:
            rows = datasets.load_dataset(folder, split=spec, cache_dir=os.path.join(folder, "cache"))["i"]
            ranges = []
            for split, i in (row.split(":") for row in rows):
                i = int(i)
                if ranges and ranges[-1][0] == split and ranges[-1][2] == i:
                    ranges[-1][2] = i + 1
                else:
                    ranges.append([split, i, i + 1])
            yield {"spec": spec, "ranges": ranges}
        except Exception as e:
            yield {"spec": spec, "error": f"{type(e).__name__}: {e}".replace(folder, "ROOT").split("\n")[0][:200]}


def write(name, entries):
    with open(os.path.join(sys.argv[1], name), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")


write("layouts.json", [layout(name, files) for name, files in LAYOUTS.items()]
      + [layout(name, files, readme, config) for name, (readme, config, files) in CARDS.items()])
with tempfile.TemporaryDirectory() as scratch:
    os.makedirs(os.path.join(scratch, "set/data"))
    write("slices.json", list(slices(os.path.join(scratch, "set"))))
