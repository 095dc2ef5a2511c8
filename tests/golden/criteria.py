"""What scikit-learn and numpy say of the criteria beside AP; writes two files beside the responses that it reads.

    pip install numpy safetensors scikit-learn blake3
    python tests/golden/criteria.py

Its input is `llama`'s `topic__baking.responses.safetensors` (`make.py` writes it): `responses` [sentence, unit] in f32, `labels` [sentence].
Everything is computed in float64. `topic__baking.criteria.csv`, a row a unit:

- `auroc`: `sklearn.metrics.roc_auc_score`; `cohens_d`: difference of the means over the pooled standard deviation;
- `train_ap`, `held_out_ap`: `sklearn.metrics.average_precision_score` where a quarter of each class is held out, the distinct texts
  with the smallest BLAKE3 of it.

`topic__baking.closer.json`:

- `l1`: `sklearn.linear_model.LogisticRegression`, penalty l1, C = 1, solver saga, on units standardised to mean 0 and deviation 1:
  the intercept, and the weights that are not 0, with the objective;
- `intervals`: of the five units with the highest AP, the 2.5th and 97.5th percentile (numpy) of scikit-learn's AP over 1,000 draws
  of each class, seed 1234, drawn by splitmix64 as `proto/domain/src/closer/interval.rs` draws.

Equal inputs give equal bytes.
"""

import csv
import json
import pathlib

import blake3
import numpy
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

CASE = pathlib.Path(__file__).parent / "cases/llama"
HERE = CASE / "expected"
SEED, DRAWS, SHARE, SHOWN = 1234, 1000, 250, 5
MASK = (1 << 64) - 1

tensors = load_file(HERE / "topic__baking.responses.safetensors")
responses, labels = tensors["responses"].astype(numpy.float64), tensors["labels"] == 1
sentences = json.loads((CASE / "concepts/topic/baking.json").read_text())["sentences"]
# What is empty or too long is not scored: `make.py` says where it puts such sentences.
positive = sentences["positive"][:20] + sentences["positive"][21:]
negative = [text for text in sentences["negative"][:-1] if text]
assert (len(positive), len(negative)) == (labels.sum(), (~labels).sum())
texts = numpy.array(positive + negative)


def cohens_d(on, off):
    squares = on.var(ddof=1) * (len(on) - 1) + off.var(ddof=1) * (len(off) - 1)
    return (on.mean() - off.mean()) / numpy.sqrt(squares / (len(on) + len(off) - 2))


def held_out():
    mask = numpy.zeros(len(labels), bool)
    for of_class in (labels, ~labels):
        distinct = sorted({str(text) for text in texts[of_class]}, key=lambda text: blake3.blake3(text.encode()).digest())
        count = min(max((len(distinct) * SHARE + 500) // 1000, 1), len(distinct) - 1)
        mask |= of_class & numpy.isin(texts, distinct[:count])
    return mask


class Random:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed

    def below(self, count):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) * count) >> 64


def intervals(units):
    positives, negatives = int(labels.sum()), int((~labels).sum())
    random = Random(SEED ^ (positives << 32) ^ negatives)
    draws = []
    for _ in range(DRAWS):
        on = [random.below(positives) for _ in range(positives)]
        draws.append((on, [random.below(negatives) for _ in range(negatives)]))
    truth = [1] * positives + [0] * negatives
    found = []
    for unit in units:
        on = numpy.sort(responses[labels, unit])[::-1]
        off = numpy.sort(responses[~labels, unit])[::-1]
        ap = [average_precision_score(truth, numpy.concatenate([on[a], off[b]])) for a, b in draws]
        low, high = numpy.percentile(ap, [2.5, 97.5])
        found.append({"unit": int(unit), "low": float(low), "high": float(high)})
    return found


def l1():
    x = (responses - responses.mean(0)) / responses.std(0)
    model = LogisticRegression(l1_ratio=1.0, C=1.0, solver="saga", tol=1e-12, max_iter=2_000_000, random_state=0)
    model.fit(x, labels)
    weights, intercept = model.coef_[0], float(model.intercept_[0])
    signs = numpy.where(labels, 1.0, -1.0)
    objective = numpy.logaddexp(0, -signs * (x @ weights + intercept)).sum() + abs(weights).sum()
    chosen = [{"unit": int(unit), "weight": float(weights[unit])} for unit in numpy.flatnonzero(weights)]
    return {"intercept": intercept, "objective": float(objective), "weights": chosen}


held = held_out()
aps = []
with (HERE / "topic__baking.criteria.csv").open("w", newline="") as file:
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["unit", "auroc", "cohens_d", "train_ap", "held_out_ap"])
    for unit, values in enumerate(responses.T):
        numbers = [
            roc_auc_score(labels, values),
            cohens_d(values[labels], values[~labels]),
            average_precision_score(labels[~held], values[~held]),
            average_precision_score(labels[held], values[held]),
        ]
        aps.append(average_precision_score(labels, values))
        rows.writerow([unit, *(repr(float(number)) for number in numbers)])
best = sorted(numpy.argsort(-numpy.array(aps), kind="stable")[:SHOWN])
closer = {"seed": SEED, "share": SHARE / 1000, "l1": l1(), "intervals": intervals(best)}
(HERE / "topic__baking.closer.json").write_text(json.dumps(closer, indent=1) + "\n")
