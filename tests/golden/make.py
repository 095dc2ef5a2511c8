#!/usr/bin/env python3
"""Write the golden data of this folder: tiny models, concept sets, and what PyTorch and scikit-learn say about them.

    pip install torch transformers tokenizers safetensors scikit-learn pandas
    python tests/golden/make.py                      all cases, variants and broken models, beside this file
    python tests/golden/make.py --case llama qwen3   only these
    python tests/golden/make.py --out DIR            somewhere else, to compare with what is committed

Everything is seeded; README.md says what the files hold. Order of work for a case: train its tokenizer, draw its
weights with numpy, write the model folder by hand (so that the spelling of config.json is ours), load the model *from
that folder* with transformers, check that the configuration was understood as meant, then compute. The forward pass
runs in float64 and a pooled response is rounded to float32 once, so that sentences with a common prefix tie where they
peak inside it.
"""

import argparse
import json
import math
import pathlib
import random
import shutil
from fractions import Fraction

import numpy as np
import pandas as pd
import safetensors.torch
import sklearn
import tokenizers
import torch
import transformers
from sklearn.metrics import average_precision_score
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM

from sentences import BAKING, FILLER, HARBOUR, OTHER, PROMPTS

HERE = pathlib.Path(__file__).resolve().parent
KS = (5, 40)
STEPS = 16
MIN_MARGIN = 1e-3  # between the best and the second logit, at every greedy step
MIN_GAP = 2e-6  # see `closest`; asked of maximum pooling
COMPAT_LEN = 128


# ---------------------------------------------------------------------------------------------------------- tokenizers


def corpus():
    return BAKING + OTHER + HARBOUR


def train_bytes(vocab_size, specials, split=None):
    """Byte-level BPE; `split` is a pre-tokenizing pattern of one's own, else GPT-2's."""
    tok = Tokenizer(models.BPE())
    if split:
        tok.normalizer = normalizers.NFC()
        tok.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(specials),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tok.train_from_iterator(corpus(), trainer)
    tok.add_special_tokens(specials)  # behind the learned ones, as GPT-2, Llama 3 and Qwen have them
    return tok


def with_bos(tok, bos):
    template = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tok.token_to_id(bos))]
    )
    tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return tok


def train_pieces(merges):
    """SentencePiece-like BPE as Llama 2 and Mistral have it: `▁` for spaces, bytes as fallback, BOS by the template."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    ascii_corpus = [s for s in corpus() if s.isascii()]  # the rest goes through the byte fallback
    alphabet = len(set("".join(ascii_corpus))) + 1
    tok.train_from_iterator(ascii_corpus, trainers.BpeTrainer(vocab_size=alphabet + merges, show_progress=False))
    learned = json.loads(tok.to_str())["model"]
    specials = ["<unk>", "<s>", "</s>"]
    vocab = specials + [f"<0x{b:02X}>" for b in range(256)] + sorted(learned["vocab"], key=learned["vocab"].get)
    assert len(set(vocab)) == len(vocab)
    ids = {t: i for i, t in enumerate(vocab)}
    tok = Tokenizer(
        models.BPE(ids, [tuple(m) for m in learned["merges"]], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tok.add_special_tokens(specials)
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", ids["<s>"])]
    )
    return tok


SPLIT = r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # every digit alone; needs a lookahead, as real ones do


def tokenizer(kind):
    if kind == "gpt2":
        return train_bytes(320, ["<|endoftext|>"])
    if kind == "pieces":
        return train_pieces(60)
    if kind == "llama3":
        return with_bos(train_bytes(320, ["<|begin|>", "<|end|>", "<|turn|>"], SPLIT), "<|begin|>")
    if kind == "qwen":
        return train_bytes(310, ["<|endoftext|>", "<|im_end|>"], SPLIT)
    raise ValueError(kind)


# --------------------------------------------------------------------------------------------------------------- cases

GPT2 = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 2,
    "n_positions": 128,
    "n_ctx": 128,
    "n_inner": None,
    "layer_norm_epsilon": 1e-5,
    "attn_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "resid_pdrop": 0.1,
    "bos_token_id": 319,
    "eos_token_id": 319,
    "vocab_size": 320,
}
NEOX = {
    "architectures": ["GPTNeoXForCausalLM"],
    "model_type": "gpt_neox",
    "hidden_act": "gelu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 128,
    "bos_token_id": 319,
    "eos_token_id": 319,
    "tie_word_embeddings": False,
    "vocab_size": 320,
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "vocab_size": "tokenizer",
}


def without(base, *names):
    return {k: v for k, v in base.items() if k not in names}


# config: as written to config.json. theta, rotary: what transformers must have understood (checked against inv_freq).
# seed: of the weights; the first, counted up from a round hundred, with which `compute` has nothing to object.
CASES = {
    "gpt2": dict(tok="gpt2", config=GPT2, seed=230, compat=True, long=True, two=True, pools=("mean", "last")),
    "gpt2_untied_sharded": dict(
        tok="gpt2",
        config=GPT2
        | dict(activation_function="gelu", tie_word_embeddings=False, n_inner=40, n_head=4, n_positions=64, n_ctx=64),
        seed=224,
        shards=2,
        long=True,
        empty=True,
    ),
    "gpt_neox": dict(
        tok="gpt2",
        config=NEOX
        | dict(
            use_parallel_residual=True,
            attention_bias=True,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
            dtype="float32",
        ),
        seed=301,
        theta=10000.0,
        rotary=4,
    ),
    "gpt_neox_sequential": dict(
        tok="gpt2",
        config=NEOX
        | dict(
            use_parallel_residual=False,
            attention_bias=True,
            rotary_pct=0.5,
            rotary_emb_base=3000,
            hidden_size=24,
            num_attention_heads=3,
            intermediate_size=48,
            torch_dtype="bfloat16",
            transformers_version="4.30.2",
        ),
        seed=401,
        store=torch.bfloat16,
        theta=3000.0,
        rotary=4,
    ),
    "llama": dict(
        tok="pieces",
        config=LLAMA
        | dict(
            rope_theta=50000.0,
            rope_scaling=None,
            tie_word_embeddings=False,
            pretraining_tp=1,
            torch_dtype="float32",
            transformers_version="4.40.0",
        ),
        seed=512,
        theta=50000.0,
        rotary=4,
        long=True,
        empty=True,
        pools=("mean", "last"),
        responses=True,
    ),
    "llama3_scaled": dict(
        tok="llama3",
        config=LLAMA
        | dict(
            num_attention_heads=2,
            num_key_value_heads=1,
            rope_theta=10000.0,
            rope_scaling={
                "factor": 8.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 64,
                "rope_type": "llama3",
            },
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=True,
            bos_token_id=317,
            eos_token_id=[318, 319],
            torch_dtype="float32",
            transformers_version="4.45.0",
        ),
        seed=600,
        theta=10000.0,
        rotary=8,
    ),
    "llama_linear": dict(
        tok="pieces",
        config=LLAMA
        | dict(
            rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
            tie_word_embeddings=False,
            num_key_value_heads=1,
            dtype="float16",
        ),
        seed=700,
        store=torch.float16,
        theta=10000.0,
        rotary=4,
    ),
    "mistral": dict(
        tok="pieces",
        config=LLAMA
        | dict(
            architectures=["MistralForCausalLM"],
            model_type="mistral",
            head_dim=6,
            rope_theta=10000.0,
            rms_norm_eps=1e-5,
            sliding_window=4096,
            tie_word_embeddings=False,
            torch_dtype="float32",
            transformers_version="4.40.0",
        ),
        seed=809,
        theta=10000.0,
        rotary=6,
    ),
    "qwen2": dict(
        tok="qwen",
        config=LLAMA
        | dict(
            architectures=["Qwen2ForCausalLM"],
            model_type="qwen2",
            rope_theta=1000000.0,
            tie_word_embeddings=True,
            use_sliding_window=False,
            sliding_window=128,
            max_window_layers=2,
            bos_token_id=308,
            eos_token_id=309,
            vocab_size=320,  # ten rows more than the tokenizer has ids, as the published models
            torch_dtype="float32",
            transformers_version="4.40.0",
        ),
        seed=930,
        theta=1000000.0,
        rotary=4,
    ),
    "qwen3": dict(
        tok="qwen",
        config=LLAMA
        | dict(
            architectures=["Qwen3ForCausalLM"],
            model_type="qwen3",
            head_dim=8,
            attention_bias=False,
            rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
            tie_word_embeddings=True,
            use_sliding_window=False,
            sliding_window=None,
            bos_token_id=308,
            eos_token_id=309,
            vocab_size=310,
            dtype="float32",
        ),
        seed=1012,
        theta=1000000.0,
        rotary=8,
    ),
}


# -------------------------------------------------------------------------------------------------------- model folder


def draw(name, shape, rng):
    """Weights that leave nothing trivial: norms around 1, noisy biases, matrices that keep the variance."""
    n = rng.standard_normal(shape)
    leaf = name.rsplit(".", 1)[-1]
    if "norm" in name or ".ln_" in name:
        return 1 + 0.25 * n if leaf == "weight" else 0.2 * n
    if leaf == "bias":
        return 0.3 * n
    if any(e in name for e in ("wte", "embed_tokens", "embed_in")):
        return 0.6 * n
    if "wpe" in name:
        return 0.4 * n
    if any(e in name for e in ("lm_head", "embed_out")):
        return 0.8 * n
    fan_in = shape[0] if any(c in name for c in ("c_attn", "c_proj", "c_fc")) else shape[1]  # GPT-2 stores [in, out]
    return 1.6 * n / math.sqrt(fan_in)


def dump(path, value, indent=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def weights(config, seed, n_ids, store=torch.float32):
    """The tensors a published checkpoint would hold: no tied head."""
    kwargs = without(config, "model_type", "transformers_version", "torch_dtype", "dtype")
    skeleton = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **kwargs))
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, p in sorted(skeleton.named_parameters()):  # a tied head is listed once, under the embedding's name
        w = draw(name, tuple(p.shape), rng)
        if any(e in name for e in ("wte", "embed_tokens")) and config["vocab_size"] > n_ids:
            w[n_ids:] *= 0.01
        tensors[name] = torch.tensor(w, dtype=torch.float32).to(store).contiguous()
    return tensors


def write_folder(folder, config, tensors, tok, shards=1):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dump(folder / "config.json", config)
    tok.save(str(folder / "tokenizer.json"), pretty=False)
    meta = {"format": "pt"}
    if shards == 1:
        safetensors.torch.save_file(tensors, str(folder / "model.safetensors"), meta)
        return
    names = sorted(tensors)
    cut = [round(i * len(names) / shards) for i in range(shards + 1)]
    where = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[cut[i] : cut[i + 1]]
        where |= dict.fromkeys(part, file)
        safetensors.torch.save_file({n: tensors[n] for n in part}, str(folder / file), meta)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    dump(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})


def load(folder):
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info  # nothing missing, unexpected or mismatched
    return model.double().eval()


def check_config(model, case, config):
    """transformers must have read the folder's config.json, old spelling or new, as it is meant here."""
    c = model.config
    for name, value in config.items():
        if name in ("rope_theta", "rope_scaling", "rope_parameters", "rotary_pct", "rotary_emb_base"):
            continue
        if name in ("transformers_version", "torch_dtype", "dtype", "architectures", "n_ctx", "pretraining_tp"):
            continue
        got = getattr(c, name)
        if name == "sliding_window" and config.get("use_sliding_window") is False:
            continue  # switched off: whatever stands there is not used
        assert got == value, (name, got, value)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == config.get("tie_word_embeddings", True)
    if "theta" not in case:
        return
    half = case["rotary"] // 2
    freq = np.array([case["theta"] ** (-i / half) for i in range(half)])
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type") == "linear":
        freq /= rope["factor"]
    if rope.get("rope_type") == "llama3":
        scaled, bands = [], set()
        for f in freq:
            turns = rope["original_max_position_embeddings"] * f / (2 * math.pi)
            s = (turns - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
            s = min(max(s, 0.0), 1.0)
            bands.add("kept" if s == 1 else "divided" if s == 0 else "blended")
            scaled.append(s * f + (1 - s) * f / rope["factor"])
        assert bands == {"kept", "divided", "blended"}, bands
        freq = np.array(scaled)
    base = getattr(model, model.base_model_prefix)
    got = base.rotary_emb.inv_freq.float().numpy()
    assert got.shape == freq.shape and np.allclose(got, freq, rtol=1e-6, atol=0), (got, freq)


# ------------------------------------------------------------------------------------------------------------ concepts


def of_length(tok, n, seed):
    """A sentence of exactly n tokens, special ones included."""
    rng = random.Random(seed)
    words = []
    while True:
        words.append(rng.choice(FILLER))
        size = len(tok.encode(" ".join(words)).ids)
        if size == n:
            return " ".join(words)
        if size > n:
            del words[-min(len(words), 5) :]


def concepts(case, tok, context):
    positive, negative = list(BAKING), list(OTHER)
    if case.get("long"):
        positive.insert(7, of_length(tok, context, 1))  # just fits: used
        positive.insert(20, of_length(tok, context + 1, 2))  # one too long: dropped
        negative.append(of_length(tok, context + 40, 3))  # dropped
    if case.get("empty"):
        negative.insert(3, "")  # dropped
    sets = [("topic", "baking", positive, negative)]
    if case.get("two"):
        # shares sentences with the first set; "fog" stands in both classes and is used as given
        sets.append(("place", "harbour", list(HARBOUR), BAKING[:15] + OTHER[9:40]))
    return sets


# ------------------------------------------------------------------------------------------------------------- numbers


class Hooked:
    """A model whose block linears can be read and forced."""

    def __init__(self, model):
        self.model = model
        linear = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
        head = model.get_output_embeddings()
        self.layers = {n: m for n, m in model.named_modules() if isinstance(m, linear) and m is not head}
        self.outputs = {}
        self.forced = {}
        for name, module in self.layers.items():
            module.register_forward_hook(self.hook(name))

    def hook(self, name):
        def run(_module, _inputs, out):
            if name in self.forced:
                out = out.clone()
                for unit, value in self.forced[name]:
                    out[..., unit] = value
            self.outputs[name] = out[0]  # [token, unit]
            return out

        return run

    def units(self):
        return {n: m.nf if hasattr(m, "nf") else m.out_features for n, m in self.layers.items()}

    def logits(self, ids, mask=None):
        """[token, vocabulary]; afterwards `outputs` holds every block linear's output."""
        kwargs = {} if mask is None else {"attention_mask": torch.tensor([mask])}
        with torch.no_grad():
            return self.model(torch.tensor([ids]), **kwargs).logits[0]

    def activations(self):
        return torch.cat([self.outputs[n] for n in self.layers], dim=-1)  # [token, unit], forward order


def pool(z, how):
    """[token, unit] in float64 to [unit] in float32: the only rounding."""
    z = {"max": lambda: z.amax(0), "mean": lambda: z.mean(0), "last": lambda: z[-1]}[how]()
    return z.to(torch.float32).numpy()


def expertise(index, z, y):
    """z [sentence, unit] f32, y [sentence] -> one row a unit."""
    on, off = z[y == 1].astype(np.float64), z[y == 0].astype(np.float64)
    return index.assign(
        ap=[average_precision_score(y, z[:, u]) for u in range(z.shape[1])],
        on_mean=on.mean(0),
        on_p50=np.percentile(on, 50, axis=0),
        on_p90=np.percentile(on, 90, axis=0),
        off_mean=off.mean(0),
    )


def exact_ap(y, z):
    """Average precision by its definition, in fractions, thresholds from the highest response down."""
    total, before = Fraction(0), 0
    for t in sorted(set(z.tolist()), reverse=True):
        picked = [int(label) for label, value in zip(y, z.tolist()) if value >= t]
        hits = sum(picked)
        total += Fraction(hits - before, int(y.sum())) * Fraction(hits, len(picked))
        before = hits
    return total


def check_ap(table, z, y, count=20):
    for u in np.random.default_rng(7).choice(z.shape[1], count, replace=False):
        assert abs(float(exact_ap(y, z[:, u])) - table.ap[u]) < 1e-12


def closest(z, y):
    """Over all units, the smallest distance of different responses across classes, relative to the unit's largest.

    What is closer than the rounding of a float32 forward pass may swap there, and AP jumps.
    """
    least = math.inf
    for u in range(z.shape[1]):
        values, back = np.unique(z[:, u].astype(np.float64), return_inverse=True)
        on = np.bincount(back, weights=y == 1, minlength=len(values)) > 0
        off = np.bincount(back, weights=y == 0, minlength=len(values)) > 0
        across = (on[1:] & off[:-1]) | (off[1:] & on[:-1])
        gaps = np.diff(values)[across]
        if len(gaps):
            least = min(least, gaps.min() / np.abs(values).max())
    return float(least)


def ties(z, y, ids):
    """Units in which different token sequences, one of either class, have one response."""
    count = 0
    for u in range(z.shape[1]):
        seen = {}
        for value, label, tokens in zip(z[:, u].tolist(), y.tolist(), ids):
            seen.setdefault(value, set()).add((label, tuple(tokens)))
        count += any(len({t for _, t in g}) > 1 and len({b for b, _ in g}) > 1 for g in seen.values())
    return count


def ranked(table):
    """Rows by (AP descending, layer in forward order, index); the f32 that an index stores must give the same order."""
    order = np.lexsort((np.arange(len(table)), -table.ap.to_numpy()))
    stored = np.lexsort((np.arange(len(table)), -table.ap.to_numpy().astype(np.float32)))
    assert (order[: max(KS) + 1] == stored[: max(KS) + 1]).all()
    return order


def round7(x):
    return float(f"{x:.7g}")


def interventions(hooked, tok, table):
    order = ranked(table)
    records, logits = [], {}
    for prompt in PROMPTS:
        start = tok.encode(prompt).ids
        for k, value in [(0, "none")] + [(k, v) for k in KS for v in ("on_mean", "on_p50")]:
            forced = [(table.layer[i], int(table.unit[i]), float(table[value][i])) for i in order[:k]]
            hooked.forced = {}
            for layer, unit, v in forced:
                hooked.forced.setdefault(layer, []).append((unit, v))
            ids, margin, first = list(start), math.inf, None
            for _ in range(STEPS):
                row = hooked.logits(ids)[-1]
                first = row if first is None else first
                best = torch.topk(row, 2)
                margin = min(margin, float(best.values[0] - best.values[1]))
                ids.append(int(best.indices[0]))
            new = ids[len(start) :]
            top = torch.topk(first, 10)
            logits[f"{prompt}|{k}|{value}"] = first.float()
            records.append(
                dict(
                    prompt=prompt,
                    k=k,
                    value=value,
                    forced=[list(f) for f in forced],
                    prompt_ids=start,
                    greedy_ids=new,
                    greedy_text=tok.decode(new),
                    greedy_margin=round7(margin),
                    top_logits=[[int(i), float(v)] for i, v in zip(top.indices, top.values)],
                    logits=[round7(v) for v in first.tolist()],
                )
            )
    hooked.forced = {}
    return records, logits


def check_greedy(records, tok, eos):
    """Empty when the greedy continuations are a fair and robust test, else what is wrong."""
    eos = eos if isinstance(eos, list) else [eos]
    wrong = []
    for r in records:
        if r["greedy_margin"] <= MIN_MARGIN:
            wrong.append(f"margin {r['greedy_margin']}")
        if set(r["greedy_ids"]) & set(eos) or max(r["greedy_ids"]) >= tok.get_vocab_size():
            wrong.append("end of text or no token")
        if r["k"] == 0 and len(set(r["greedy_ids"])) < 5:
            wrong.append("one note")
    for prompt in {r["prompt"] for r in records}:
        if len({tuple(r["greedy_ids"]) for r in records if r["prompt"] == prompt}) < 3:
            wrong.append("forcing changes nothing")
    return wrong


# --------------------------------------------------------------------------------------------------------------- write


def write_csv(path, table):
    table.to_csv(path, index=False, float_format="%.9g", lineterminator="\n")


def write_do(folder, key, records, logits):
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in records)
    (folder / f"{key}.do.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    safetensors.torch.save_file(logits, str(folder / f"{key}.do.logits.safetensors"))


def compat(hooked, tok, index, group, name, positive, negative):
    """The reference's way: right-padded to 128 with EOS, mask 0 on the pads, maximum over all 128 positions."""
    eos = hooked.model.config.eos_token_id
    rows, labels = [], []
    for label, part in ((1, positive), (0, negative)):
        for s in part:
            ids = tok.encode(s).ids
            if len(ids) > COMPAT_LEN:
                continue
            pads = COMPAT_LEN - len(ids)
            hooked.logits(ids + [eos] * pads, [1] * len(ids) + [0] * pads)
            rows.append(pool(hooked.activations(), "max"))
            labels.append(label)
    z, y = np.stack(rows), np.array(labels)
    table = expertise(index, z, y)
    check_ap(table, z, y)
    table["layer"] = table.layer + ":0"
    table = table.sort_values("layer", kind="stable").reset_index(drop=True)
    table = table.assign(uuid=range(len(table)), concept=name, group=group)
    return table[["ap", "off_mean", "on_p50", "on_p90", "layer", "unit", "uuid", "concept", "group"]]


def make_case(root, name, case):
    folder = root / "cases" / name
    tok = tokenizer(case["tok"])
    config = dict(case["config"])
    if config["vocab_size"] == "tokenizer":
        config["vocab_size"] = tok.get_vocab_size()
    assert tok.get_vocab_size() <= config["vocab_size"]
    for seed in range(case["seed"], case["seed"] + 2000):
        shutil.rmtree(folder, ignore_errors=True)
        tensors = weights(config, seed, tok.get_vocab_size(), case.get("store", torch.float32))
        write_folder(folder / "model", config, tensors, tok, case.get("shards", 1))
        wrong = compute(folder, name, case, config, seed)
        if not wrong:
            return
        print(f"{name}: seed {seed}: {wrong[0]}", flush=True)
    raise SystemExit(f"{name}: no seed will do")


def compute(folder, name, case, config, seed):
    tok = Tokenizer.from_file(str(folder / "model" / "tokenizer.json"))
    model = load(folder / "model")
    check_config(model, case, config)
    context = model.config.max_position_embeddings
    hooked = Hooked(model)
    units = hooked.units()
    index = pd.DataFrame([(n, u) for n, size in units.items() for u in range(size)], columns=["layer", "unit"])
    expected = folder / "expected"
    expected.mkdir()
    meta = {
        "model": name,
        "versions": {m.__name__: m.__version__.split("+")[0] for m in (torch, transformers, tokenizers, sklearn, np)},
        "seed": seed,
        "layers": [{"layer": n, "units": size} for n, size in units.items()],
        "concepts": [],
    }
    for group, concept, positive, negative in concepts(case, tok, context):
        key = f"{group}__{concept}"
        dump(
            folder / "concepts" / group / f"{concept}.json",
            {"concept": concept, "group": group, "sentences": {"positive": positive, "negative": negative}},
            indent=1,
        )
        main = not meta["concepts"]  # the first set has all kinds of files
        pooled = {how: [] for how in ("max", *(case.get("pools", ()) if main else ()))}
        y, used, long, empty = [], [], 0, 0
        for label, part in ((1, positive), (0, negative)):
            for s in part:
                e = tok.encode(s)
                own = [i for i, special in enumerate(e.special_tokens_mask) if not special]
                if not own or len(e.ids) > context:
                    empty, long = empty + (not own), long + bool(own)
                    continue
                hooked.logits(e.ids)
                z = hooked.activations()[own]
                for how, rows in pooled.items():
                    rows.append(pool(z, how))
                y.append(label)
                used.append(e.ids)
        y = np.array(y)
        pooled = {how: np.stack(rows) for how, rows in pooled.items()}
        z = pooled["max"]
        if closest(z, y) < MIN_GAP:
            return ["two responses are too close"]
        tables = {how: expertise(index, rows, y) for how, rows in pooled.items()}
        table = tables["max"]
        records, logits = interventions(hooked, tok, table) if main else ([], {})
        wrong = check_greedy(records, tok, config["eos_token_id"])
        if wrong:
            return wrong
        tied = ties(z, y, used)
        assert tied > 0.1 * len(table), "common prefixes must make ties"
        for how, t in tables.items():
            check_ap(t, pooled[how], y)
            write_csv(expected / f"{key}.{'masked' if how == 'max' else how}.csv", t)
        if case.get("responses"):
            # AP once more as scikit-learn gives it, in float64: the csv has nine digits.
            ap = torch.tensor(table.ap.to_numpy(), dtype=torch.float64)
            tensors = {"responses": torch.tensor(z), "labels": torch.tensor(y, dtype=torch.uint8), "ap": ap}
            safetensors.torch.save_file(tensors, str(expected / f"{key}.responses.safetensors"))
        if case.get("compat"):
            write_csv(expected / f"{key}.compat.csv", compat(hooked, tok, index, group, concept, positive, negative))
        if main:
            write_do(expected, key, records, logits)
        order = ranked(table)
        meta["concepts"].append(
            {
                "concept": key,
                "positives": int(y.sum()),
                "negatives": int((1 - y).sum()),
                "dropped": long + empty,
                "dropped_long": long,
                "dropped_empty": empty,
                "max_ap": float(table.ap.max()),
                "top": [f"{table.layer[i]}[{table.unit[i]}]" for i in order[:5]],
                "units_with_ties": tied,
                "closest_responses": {how: float(f"{closest(rows, y):.3g}") for how, rows in pooled.items()},
            }
        )
        print(name, seed, len(table), "units", json.dumps(meta["concepts"][-1]), flush=True)
    dump(expected / "meta.json", meta, indent=1)
    return []


def make_variant(root):
    """cases/gpt2 as the oldest checkpoints spell it: no `transformer.` in front, causal masks among the weights."""
    source, folder = root / "cases" / "gpt2" / "model", root / "variants" / "gpt2_bare_names" / "model"
    if not source.exists():
        return
    tensors = safetensors.torch.load_file(str(source / "model.safetensors"))
    tensors = {n.removeprefix("transformer."): t for n, t in tensors.items()}
    size = GPT2["n_positions"]
    for i in range(GPT2["n_layer"]):
        tensors[f"h.{i}.attn.bias"] = torch.ones(size, size, dtype=torch.uint8).tril().view(1, 1, size, size)
    tok = Tokenizer.from_file(str(source / "tokenizer.json"))
    write_folder(folder, GPT2, tensors, tok)
    ids = tok.encode(PROMPTS[0]).ids
    both = [AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32).eval() for f in (source, folder)]
    old, new = (Hooked(m).logits(ids) for m in both)
    assert torch.equal(old, new)


def make_bad(root):
    """Models that must be refused, each broken in one place."""
    tok = tokenizer("gpt2")
    ids = tok.get_vocab_size()
    small = GPT2 | dict(n_embd=8, n_positions=32, n_ctx=32)
    good = weights(small, 1, ids)

    def write(name, config, tensors):
        write_folder(root / "bad" / name, config, tensors, tok)
        return root / "bad" / name / "model.safetensors"

    nan = {n: t.clone() for n, t in good.items()}
    nan["transformer.h.1.mlp.c_fc.weight"][3, 5] = math.nan
    write("nan_weight", small, nan)

    file = write("truncated", small, good)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    write("missing_tensor", small, {n: t for n, t in good.items() if n != "transformer.h.1.attn.c_proj.weight"})

    bert = dict(architectures=["BertForMaskedLM"], model_type="bert", hidden_act="gelu", hidden_size=8)
    bert |= dict(intermediate_size=32, num_attention_heads=2, num_hidden_layers=2, max_position_embeddings=32)
    write("unsupported_family", bert | dict(vocab_size=ids), good)

    llama = without(LLAMA, "bos_token_id", "eos_token_id") | dict(
        hidden_size=8, intermediate_size=16, num_attention_heads=2, num_key_value_heads=1, vocab_size=ids
    )
    plain = llama | dict(rope_theta=10000.0, tie_word_embeddings=True)
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    write("unsupported_rope", plain | dict(rope_scaling=yarn), weights(plain, 1, ids))

    few = small | dict(vocab_size=ids - 20, bos_token_id=0, eos_token_id=0)
    write("wrong_tokenizer", few, weights(few, 1, ids - 20))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="folder to write to (default: beside this file)")
    parser.add_argument("--case", nargs="*", choices=CASES, help="only these cases, nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in args.case or CASES:
        make_case(args.out, name, CASES[name])
    if not args.case:
        make_variant(args.out)
        make_bad(args.out)


if __name__ == "__main__":
    main()
