"""What nltk, numpy, scipy and transformers say about fixed inputs; writes golden.json beside itself.

    pip install nltk numpy scipy torch transformers
    python client/eval/tests/golden/make.py

Perplexity is transformers': exp of the loss of the golden model `tests/golden/cases/gpt2` in float64 on given token ids, and
the log probabilities that the loss is the mean of. The texts were written for this repository.
"""

import json
import math
import pathlib
import platform

import nltk
import numpy
import scipy
import scipy.stats
import torch
import transformers
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parents[3] / "tests/golden/cases/gpt2/model"

TEXTS = [
    "the goalkeeper saved the penalty and the crowd sang",
    "the goalkeeper saved the penalty in the last minute of the match",
    "the crowd sang the crowd sang the crowd sang",
    "rain fell on the roof of the old station",
    "the old station had a roof",
    "yes",
    "the goalkeeper saved",
    "a train left the old station before the rain fell on the roof , and nobody saw it leave",
]
VALUES = [0.3, -1.5, 2.25, 0.3, 7.0, 4.125, -0.5, 3.0, 3.0, 1.0]
OTHERS = [1.0, 0.5, 2.0, 0.75, 5.0, 5.0, -2.0, 2.5, 3.5, 1.0]
TOKENS = [[5, 17, 33, 2, 90, 41, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [60, 60]]


def self_bleu(order):
    method = SmoothingFunction().method1
    texts = [text.split() for text in TEXTS]
    weights = [1 / order] * order
    return [
        sentence_bleu(texts[:i] + texts[i + 1 :], text, weights, smoothing_function=method)
        for i, text in enumerate(texts)
    ]


def distinct(n):
    grams = [tuple(t[i : i + n]) for t in (text.split() for text in TEXTS) for i in range(len(t) - n + 1)]
    return len(set(grams)) / len(grams)


def perplexities():
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64).eval()
    found = []
    for ids in TOKENS:
        ids = torch.tensor([ids])
        with torch.no_grad():
            output = model(ids, labels=ids)
        logs = torch.log_softmax(output.logits[0, :-1], -1).gather(1, ids[0, 1:, None])[:, 0]
        found.append({"ids": ids[0].tolist(), "log_probabilities": logs.tolist(), "perplexity": math.exp(output.loss)})
    return found


golden = {
    "made_with": {
        "python": platform.python_version(),
        **{m.__name__: m.__version__ for m in (nltk, numpy, scipy, torch, transformers)},
    },
    "texts": TEXTS,
    "self_bleu": {str(n): self_bleu(n) for n in (2, 3, 4)},
    "distinct": {str(n): distinct(n) for n in (1, 2, 3)},
    "values": VALUES,
    "others": OTHERS,
    "quantiles": {str(q): float(numpy.quantile(VALUES, q)) for q in (0.0, 0.025, 0.1, 0.5, 0.9, 0.975, 1.0)},
    "pearson": float(scipy.stats.pearsonr(VALUES, OTHERS)[0]),
    "spearman": float(scipy.stats.spearmanr(VALUES, OTHERS)[0]),
    "perplexities": perplexities(),
}
(HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
