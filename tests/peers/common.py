"""What the comparisons share: a model of random weights, and concepts from files or made up."""

import csv
import json
import pathlib
import random
import shutil

VOCABULARY = 50257


def make_model(folder, tokenizer=None):
    """Writes a folder in Hugging Face layout of GPT-2 small's shape and returns the model without its head.

    Without a tokenizer's file, the words `w0` to `w50256` are one token each.
    """
    import torch
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    model = GPT2Model(GPT2Config()).eval()
    model.save_pretrained(folder, safe_serialization=True)
    if tokenizer:
        shutil.copy(tokenizer, folder / "tokenizer.json")
        return model
    write_tokenizer(folder)
    return model


def write_tokenizer(folder):
    """The words `w0` to `w50256`, one token each."""
    vocab = {f"w{number}": number for number in range(VOCABULARY)}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    }))


def sentence(chance, mean=34):
    """A made-up one; lengths are log-normal around the mean, at least 5 and at most 128."""
    length = min(128, max(5, round(chance.lognormvariate(3.41, 0.5) * mean / 34)))
    return " ".join(f"w{chance.randrange(VOCABULARY)}" for _ in range(length))


def made_up(concepts, positive, negative):
    """Concepts that share their negatives."""
    chance = random.Random(0)
    shared = [sentence(chance) for _ in range(negative)]
    return [{"group": "made-up", "concept": f"c{number:04}", "positive": [sentence(chance) for _ in range(positive)],
             "negative": shared} for number in range(concepts)]


def read_concepts(path):
    """Concepts of a folder with `concept_list.csv`, or of one file, in the reference implementation's schema."""
    path = pathlib.Path(path)
    files = [path]
    if path.is_dir():
        with open(path / "concept_list.csv", newline="") as rows:
            files = [path / row["group"] / f"{row['concept']}.json" for row in csv.DictReader(rows)]
    concepts = []
    for file in files:
        one = json.loads(file.read_text())
        classes = one["sentences"]
        concepts.append({"group": one["group"], "concept": one["concept"], "positive": classes["positive"],
                         "negative": classes["negative"]})
    return concepts
