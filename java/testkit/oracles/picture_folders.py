"""Writes which rows datasets makes of folders of pictures: the file and the label of each, and the class names.

    python picture_folders.py ../../data/src/test/resources/org/fishermerge/data/picture-folders.json

Made with datasets 5.0.1. The pictures are not decoded; "files" of metadata have their text, pictures are empty.
"""
import json
import os
import sys
import tempfile

import datasets

datasets.logging.set_verbosity_error()
datasets.disable_progress_bars()

PICTURES = {f"{i}.png": "" for i in (1, 2, 3, 10)}
FOLDERS = {
    "by class": {"dog/1.png": "", "cat/2.JPG": "", "cat/10.png": "", "cat/9.png": "", "Zebra/1.png": "", "dog/1.jpg": ""},
    "by split and class": {"train/b/1.png": "", "train/a/2.png": "", "test/a/3.png": "", "test/c/4.png": ""},
    "one class": {"cat/1.png": "", "cat/2.png": ""},
    "two depths": {"a/1.png": "", "b/c/2.png": ""},
    "numbers": {**PICTURES, "metadata.csv": "file_name,label\n3.png,2\n1.png,0\n10.png,1\n"},
    "whole floats": {**PICTURES, "metadata.csv": "label,file_name\n2.0,3.png\n,1.png\n1.0,10.png\n"},
    "names, quoted": {**PICTURES, "metadata.csv": 'file_name,label,note\n"3.png","a, ""b""",x\n1.png,c,y\n'},
    "names like numbers": {**PICTURES, "metadata.csv": "file_name,label\n3.png,7\n1.png,seven\n"},
    "booleans": {**PICTURES, "metadata.csv": "file_name,label\n3.png,True\n1.png,False\n"},
    "an empty name": {**PICTURES, "metadata.csv": "file_name,label\n3.png,cat\n1.png,NA\n10.png,dog\n"},
    "windows lines and a mark": {**PICTURES, "metadata.csv": "\ufefffile_name,label\r\n3.png,1\r\n\r\n1.png,0\r\n"},
    "no labels": {**PICTURES, "metadata.csv": "file_name,text\n3.png,hello\n1.png,\n"},
    "prefixed": {**PICTURES, "metadata.csv": "image_file_name,label\n3.png,1\n"},
    "lines of JSON": {"a/1.png": "", "b/2.png": "", "metadata.jsonl":
                      '{"file_name": "b/2.png", "label": 1}\n{"file_name": "a/1.png", "label": 0}\n'},
    "names in JSON": {"a/1.png": "", "b/2.png": "", "metadata.jsonl":
                      '{"file_name": "./b/../b/2.png", "label": "x"}\n\n{"label": null, "file_name": "a/1.png"}\n'},
    "missing in JSON": {**PICTURES, "metadata.jsonl": '{"file_name": "1.png", "label": 1}\n{"file_name": "2.png"}\n'},
    "metadata of each split": {"train/metadata.csv": "file_name,label\n2.png,1\n1.png,0\n", "train/1.png": "",
                               "train/2.png": "", "test/metadata.csv": "file_name,label\n3.png,1\n", "test/3.png": ""},
    "metadata beats folders": {"a/1.png": "", "b/2.png": "", "metadata.csv": "file_name,label\na/1.png,5\n"},
    "leads out": {**PICTURES, "metadata.csv": "file_name,label\n../set/1.png,5\n"},
    "absolute": {**PICTURES, "metadata.csv": "file_name,label\n/etc/hostname,5\n"},
    "no file name": {**PICTURES, "metadata.csv": "name,label\n1.png,5\n"},
    "two kinds": {**PICTURES, "metadata.csv": "file_name\n1.png\n", "sub/metadata.jsonl": '{"file_name": "1.png"}\n'},
    "broken JSON": {**PICTURES, "metadata.jsonl": '{"file_name": "1.png"\n'},
    "empty metadata": {**PICTURES, "metadata.csv": ""},
}


def rows(files):
    with tempfile.TemporaryDirectory() as scratch:
        root = os.path.join(scratch, "set")
        for name, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            with open(os.path.join(root, name), "w", newline="") as f:
                f.write(text)
        splits = {}
        for split, data in datasets.load_dataset(root, cache_dir=os.path.join(scratch, "cache")).items():
            label = data.features.get("label")
            names = label.names if isinstance(label, datasets.ClassLabel) else None
            data = data.cast_column("image", datasets.Image(decode=False))
            splits[str(split)] = {
                "files": [os.path.relpath(row["image"]["path"], root) for row in data],
                "labels": [row["label"] for row in data] if label else None, "names": names}
        return splits


with open(sys.argv[1], "w") as out:
    entries = []
    for name, files in FOLDERS.items():
        entry = {"name": name, "files": files}
        try:
            entry["splits"] = rows(files)
        except Exception as e:  # whatever it says, it refuses
            entry["error"] = type(e).__name__
        entries.append(json.dumps(entry))
    out.write("[\n" + ",\n".join(entries) + "\n]\n")
