#!/usr/bin/env python3
"""The forward pass of mining against PyTorch's: the same model, the same tokens, by turns, on all cores.

    pip install torch transformers
    cargo build --release -p lode-model --example forward
    python tests/peers/forward.py [--rounds 5] [--sentences 256]

The model has the shape of GPT-2 small and random weights; sentences have 34 tokens on average, as the football concept of
the reference implementation has. PyTorch runs as a competent user would have it: sentences sorted by length, batches of
the size that turns out fastest, no head, inference mode; padding is not counted. It pools nothing: Lode's time includes
the maximum of every unit over the tokens of each sentence. Prints tokens/s of both and the median of the rounds' ratios.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

import torch
from transformers import GPT2Config, GPT2Model

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCHES = (8, 16, 32, 64)


def write_model(folder):
    """A folder as Hugging Face has them, with a tokenizer of words `w0` to `w50256`, and the model itself."""
    torch.manual_seed(0)
    config = GPT2Config()
    model = GPT2Model(config).eval()
    model.save_pretrained(folder, safe_serialization=True)
    vocab = {f"w{number}": number for number in range(config.vocab_size)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return model


def draw_sentences(count):
    """Token ids; lengths are log-normal around 34, at least 5 and at most 128."""
    chance = random.Random(0)
    lengths = [min(128, max(5, round(chance.lognormvariate(3.41, 0.5)))) for _ in range(count)]
    return [[chance.randrange(50257) for _ in range(length)] for length in lengths]


class Torch:
    """The model in batches of sentences of about one length."""

    def __init__(self, model, sentences):
        self.model = model
        ordered = sorted(sentences, key=len)
        self.batches = {size: [self.batch(ordered[i:i + size]) for i in range(0, len(ordered), size)] for size in BATCHES}
        self.size = min(BATCHES, key=lambda size: self.seconds(size))

    @staticmethod
    def batch(sentences):
        width = max(map(len, sentences))
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in sentences])
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in sentences])
        return {"input_ids": ids, "attention_mask": mask}

    @torch.inference_mode()
    def seconds(self, size=None):
        start = time.perf_counter()
        for batch in self.batches[size or self.size]:
            self.model(**batch, use_cache=False)
        return time.perf_counter() - start


class Lode:
    """The example program, which runs all sentences once for every line that it reads."""

    def __init__(self, program, folder, sentences):
        path = folder / "sentences.txt"
        path.write_text("\n".join(" ".join(f"w{token}" for token in ids) for ids in sentences))
        self.process = subprocess.Popen([program, folder, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tokens = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the forward example ended with status {self.process.wait()}")
        return float(line)

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--program", default=ROOT / "target/release/examples/forward")
    args = parser.parse_args()
    sentences = draw_sentences(args.sentences)
    tokens = sum(map(len, sentences))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        peer = Torch(write_model(folder), sentences)
        lode = Lode(args.program, folder, sentences)
        assert lode.tokens == tokens, f"{lode.tokens} tokens there, {tokens} here"
        lode.seconds()
        ratios = []
        for number in range(args.rounds):
            torch_seconds, lode_seconds = peer.seconds(), lode.seconds()
            ratios.append(torch_seconds / lode_seconds)
            print(f"round {number}: PyTorch {tokens / torch_seconds:.0f} tokens/s, "
                  f"Lode {tokens / lode_seconds:.0f} tokens/s, ratio {ratios[-1]:.2f}", flush=True)
        print(f"{tokens} tokens, {torch.get_num_threads()} threads, PyTorch {torch.__version__} in batches of {peer.size}: "
              f"Lode is {statistics.median(ratios):.2f} times as fast")


if __name__ == "__main__":
    main()
