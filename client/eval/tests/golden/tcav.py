"""What scikit-learn and scipy say about concept activation vectors and their test on fixed inputs; writes tcav.json beside itself.

    pip install numpy scipy scikit-learn
    python client/eval/tests/golden/tcav.py

`boundaries`: vectors in sixty-fourths, `positives` of them of the first set; `sklearn.linear_model.LogisticRegression(C=1)` on these vectors
centred and divided by the root of the mean variance of their coordinates; weights and intercept are given for the vectors as they stand.
`tests`: `scipy.stats.ttest_ind(equal_var=False)`.

Equal inputs give equal bytes.
"""

import json
import pathlib

import numpy
import scipy
import sklearn
from scipy.stats import ttest_ind
from sklearn.linear_model import LogisticRegression

HERE = pathlib.Path(__file__).parent
SAMPLES = [
    ([0.9, 0.85, 1.0, 0.95, 0.9], [0.5, 0.4, 0.65, 0.3, 0.55]),
    ([0.5, 0.55, 0.45], [0.5, 0.6, 0.35, 0.52]),
    ([1.0, 1.0, 1.0, 1.0], [0.1, 0.2, 0.15, 0.25]),
    ([0.0, 0.025, 0.0, 0.05, 0.1, 0.0, 0.0, 0.025, 0.0, 0.0], [0.2, 0.9, 0.5, 0.6, 0.1, 0.8, 0.4, 1.0, 0.0, 0.7]),
    ([3.0, 1.0], [2.0, 5.0]),
    ([1e-3 * n for n in range(40)], [0.05 + 1e-3 * n for n in range(40)]),
]


def boundary(random, shape, positives, shift):
    count, width = shape
    x = random.normal(size=shape) @ random.normal(size=(width, width))
    x[:positives] += shift * random.normal(size=width)
    x = numpy.round(x * 64) / 64
    centre = x.mean(0)
    scale = numpy.sqrt(((x - centre) ** 2).mean())
    labels = numpy.arange(count) < positives
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-13, max_iter=1_000_000)
    model.fit((x - centre) / scale, labels)
    weights = model.coef_[0] / scale
    return {
        "vectors": (x * 64).astype(int).tolist(),
        "positives": positives,
        "weights": weights.tolist(),
        "intercept": float(model.intercept_[0] - weights @ centre),
    }


def test(a, b):
    found = ttest_ind(a, b, equal_var=False)
    return {"a": a, "b": b, "t": float(found.statistic), "freedom": float(found.df), "p": float(found.pvalue)}


random = numpy.random.default_rng(6)
golden = {
    "made_with": {module.__name__: module.__version__ for module in (numpy, scipy, sklearn)},
    "boundaries": [boundary(random, (40, 6), 17, 0.6), boundary(random, (50, 12), 25, 3.0), boundary(random, (24, 30), 12, 0.4)],
    "tests": [test(a, b) for a, b in SAMPLES],
}
(HERE / "tcav.json").write_text(json.dumps(golden) + "\n")
