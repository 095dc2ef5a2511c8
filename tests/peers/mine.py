#!/usr/bin/env python3
"""A mining job against what a competent user would write today: the same model, the same sentences, the same machine, one run.

    pip install -r tests/peers/requirements.txt
    cargo build --release
    python tests/peers/mine.py                                  # one made-up concept, 700 + 1000 sentences
    python tests/peers/mine.py --concepts FOLDER --tokenizer FOLDER/tokenizer.json

The peer loops over concepts. For each it cuts sentences into tokens, sorts them by length, runs batches of 32 through PyTorch
without the head, takes the maximum over each sentence's tokens in a hook on every linear map, and computes AP with
scikit-learn in one process a core, or with a vectorised sort in numpy, whichever is faster here. It keeps AP and nothing else.
Lode runs the whole job: `lode --embedded mine`, from reading the files to the index, all units, five numbers a unit.

The peer is measured on samples and scaled where the whole would take too long: `--peer-concepts` concepts, of each
`--peer-sentences` sentences (scaled by tokens) and `--peer-units` units (scaled by units). Loading the models is in neither time.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy
import torch
from sklearn.metrics import average_precision_score

import common

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH = 32


class Capture:
    """Hooks on all linear maps of all blocks, as Lode counts units: `[sentence, unit]` after a run."""

    def __init__(self, model):
        self.mask = None
        self.parts = []
        for block in model.h:
            for linear in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                linear.register_forward_hook(self.hook)

    def hook(self, _module, _inputs, output):
        output = output.view(*self.mask.shape, -1)
        pooled = output.masked_fill(~self.mask.unsqueeze(-1), -torch.inf).amax(1)
        self.parts.append(pooled)


class Peer:
    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.capture = Capture(model)

    @torch.inference_mode()
    def responses(self, sentences):
        """`[sentence, unit]`, and how many tokens ran."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(sentences)]
        order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
        rows = [None] * len(ids)
        for start in range(0, len(order), BATCH):
            few = order[start:start + BATCH]
            width = max(len(ids[number]) for number in few)
            padded = torch.tensor([ids[number] + [0] * (width - len(ids[number])) for number in few])
            mask = torch.tensor([[1] * len(ids[number]) + [0] * (width - len(ids[number])) for number in few])
            self.capture.mask, self.capture.parts = mask.bool(), []
            self.model(input_ids=padded, attention_mask=mask, use_cache=False)
            for number, row in zip(few, torch.cat(self.capture.parts, dim=1).numpy()):
                rows[number] = row
        return numpy.stack(rows), sum(map(len, ids))


def ap_of(arguments):
    labels, responses = arguments
    return [average_precision_score(labels, unit) for unit in responses]


def ap_sklearn(labels, responses):
    """AP of every unit, `[unit]`, from `[unit, sentence]`; one process a core."""
    cores = os.cpu_count() or 1
    parts = numpy.array_split(responses, cores * 4)
    with multiprocessing.Pool(cores) as pool:
        return numpy.concatenate(pool.map(ap_of, [(labels, part) for part in parts]))


def ap_numpy(labels, responses, block=1024):
    """The same with one sort along an axis; equal responses are one threshold."""
    found = []
    for start in range(0, len(responses), block):
        part = responses[start:start + block]
        order = numpy.argsort(-part, axis=1, kind="stable")
        falling = numpy.take_along_axis(part, order, axis=1)
        hits = labels[order]
        last = numpy.ones_like(falling, dtype=bool)
        last[:, :-1] = falling[:, 1:] != falling[:, :-1]
        true = numpy.cumsum(hits, axis=1)
        precision = true / numpy.arange(1, part.shape[1] + 1)
        # At the end of each run of equal responses: how many positives came with it.
        at_last = numpy.where(last, true, 0)
        before = numpy.maximum.accumulate(numpy.concatenate([numpy.zeros((len(part), 1), int), at_last[:, :-1]], axis=1), axis=1)
        gained = numpy.where(last, true - before, 0)
        found.append((gained * precision).sum(axis=1) / labels.sum())
    return numpy.concatenate(found)


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def peer_seconds(peer, concepts, args):
    """Seconds the peer needs for all concepts, and how it was found."""
    sample = concepts[:args.peer_concepts]
    forward, score, used = [], [], []
    for concept in sample:
        positive, negative = concept["positive"], concept["negative"]
        sentences = positive + negative
        labels = numpy.array([1] * len(positive) + [0] * len(negative))
        tokens = sum(len(e.ids) for e in peer.tokenizer.encode_batch(sentences))
        # Every so manieth, so that both classes and all lengths are among them.
        step = max(1, len(sentences) // args.peer_sentences)
        (responses, ran), seconds = timed(lambda: peer.responses(sentences[::step]))
        forward.append(seconds * tokens / ran)
        # AP needs a response to every sentence: those that did not run borrow from those that did, with some noise so that
        # there are no more ties than there would be.
        units = responses[:, :: max(1, responses.shape[1] // args.peer_units)].T
        noise = numpy.random.default_rng(0).normal(scale=0.1, size=(len(units), len(sentences))).astype("float32")
        whole = numpy.ascontiguousarray(numpy.resize(units, (len(units), len(sentences))) + noise)
        by_sklearn, sklearn_seconds = timed(lambda: ap_sklearn(labels, whole))
        by_numpy, numpy_seconds = timed(lambda: ap_numpy(labels, whole))
        assert numpy.allclose(by_sklearn, by_numpy, atol=1e-9), "the two ways to AP disagree"
        scale = responses.shape[1] / len(units)
        score.append((sklearn_seconds * scale, numpy_seconds * scale))
        used.append({"sentences_run": len(responses), "of": len(sentences), "units_scored": len(units), "of_units": responses.shape[1]})
    by_forward = statistics.mean(forward)
    by_sklearn, by_numpy = (statistics.mean(one[way] for one in score) for way in (0, 1))
    each = by_forward + min(by_sklearn, by_numpy)
    return each * len(concepts), {
        "concepts_sampled": len(sample), "sampled": used, "forward_seconds": by_forward,
        "sklearn_seconds": by_sklearn, "numpy_seconds": by_numpy, "seconds_a_concept": each,
    }


def lode_seconds(args, folder, concepts):
    """Seconds from submission to the end of the job, as `lode mine` tells them."""
    with tempfile.TemporaryDirectory() as place:
        paths = []
        for number, concept in enumerate(concepts):
            path = pathlib.Path(place) / f"{number:04}.json"
            sentences = {"positive": concept["positive"], "negative": concept["negative"]}
            path.write_text(json.dumps({"concept": concept["concept"], "group": concept["group"], "sentences": sentences}))
            paths.append(str(path))
        command = [args.lode, "--embedded", "--workers", str(args.workers), "mine", "--model", f"peer={folder}",
                   "--limit-per-class", "1000000", "--format", "json", *paths]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", help="a folder of concepts or one concept file; made up if left out")
    parser.add_argument("--group", help="only concepts of this group")
    parser.add_argument("--first", type=int, default=10**9, help="so many concepts at most")
    parser.add_argument("--limit", type=int, default=1000, help="sentences of a class at most, the first ones")
    parser.add_argument("--made-up", type=int, nargs=3, default=(1, 700, 1000), metavar=("CONCEPTS", "POSITIVE", "NEGATIVE"))
    parser.add_argument("--tokenizer", help="a tokenizer.json for the random model; one token a made-up word if left out")
    parser.add_argument("--peer-concepts", type=int, default=1)
    parser.add_argument("--peer-sentences", type=int, default=320)
    parser.add_argument("--peer-units", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--lode", default=str(ROOT / "target/release/lode"))
    parser.add_argument("--format", choices=["text", "json"], default="text")
    args = parser.parse_args()

    concepts = common.read_concepts(args.concepts) if args.concepts else common.made_up(*args.made_up)
    concepts = [one for one in concepts if args.group in (None, one["group"])][:args.first]
    for one in concepts:
        one["positive"], one["negative"] = one["positive"][:args.limit], one["negative"][:args.limit]
    with tempfile.TemporaryDirectory() as folder:
        model = common.make_model(pathlib.Path(folder), args.tokenizer)
        lode = lode_seconds(args, folder, concepts)
        from tokenizers import Tokenizer
        peer_whole, how = peer_seconds(Peer(model, Tokenizer.from_file(f"{folder}/tokenizer.json")), concepts, args)
    result = {
        "concepts": len(concepts), "lode_seconds": lode["seconds"], "lode_tokens": lode["tokens"],
        "lode_sentences_run": lode["sentences_run"], "peer_seconds": peer_whole, "ratio": peer_whole / lode["seconds"], "peer": how,
    }
    if args.format == "json":
        print(json.dumps(result, indent=2))
        return
    print(f"concepts                   {result['concepts']}")
    print(f"lode, whole job            {result['lode_seconds']:.1f} s, {result['lode_sentences_run']} sentences run")
    print(f"peer, all concepts         {peer_whole:.1f} s, extrapolated from {how['concepts_sampled']} concepts: {how['sampled']}")
    print(f"peer, one concept          forward {how['forward_seconds']:.1f} s, AP scikit-learn {how['sklearn_seconds']:.1f} s, "
          f"AP numpy {how['numpy_seconds']:.1f} s")
    print(f"ratio                      {result['ratio']:.1f}")


if __name__ == "__main__":
    main()
