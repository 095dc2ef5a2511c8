#!/usr/bin/env python3
"""Generation against Hugging Face transformers' `generate` and, with `--llama`, llama.cpp: by turns, on all cores, in f32.

    pip install -r tests/peers/requirements.txt        # for --llama also: pip install llama-cpp-python gguf
    cargo build --release --workspace --example generate
    python tests/peers/generate.py [--rounds 5] [--llama]

The model has the shape of GPT-2 small and random weights. Each run continues as many random prompts of 16 tokens as the batch has
by 48 tokens, greedily; no text ends early. transformers has all of them in one batch of one length, as suits it best; Lode's
engine has them join at once, as requests would. llama.cpp decodes them as sequences of one batch, from a GGUF file of the same
weights, and the largest logit is looked for in numpy. Prints new tokens a second and the median of the rounds' ratios.
"""

import argparse
import ctypes
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

import numpy
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import common

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT, NEW = 16, 48


def make_model(folder):
    """Writes a folder in Hugging Face layout and returns the model. No token ends a text."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(eos_token_id=None, bos_token_id=None)).eval()
    model.save_pretrained(folder, safe_serialization=True)
    common.write_tokenizer(folder)
    return model


def prompts(count):
    chance = random.Random(count)
    return [[chance.randrange(common.VOCABULARY) for _ in range(PROMPT)] for _ in range(count)]


class Transformers:
    name = "transformers"

    def __init__(self, model):
        self.model = model

    @torch.inference_mode()
    def seconds(self, batch):
        ids = torch.tensor(prompts(batch))
        start = time.perf_counter()
        out = self.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW,
                                  min_new_tokens=NEW, pad_token_id=0)
        assert out.shape == (batch, PROMPT + NEW)
        return time.perf_counter() - start


class Lode:
    """The example program, which answers every line with seconds."""

    name = "Lode"

    def __init__(self, program, folder):
        self.process = subprocess.Popen([program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, batch):
        self.process.stdin.write(f"{batch} {PROMPT} {NEW} 0\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the generate example ended with status {self.process.wait()}")
        return float(line)


def write_gguf(model, path):
    """The same weights, in f32, under llama.cpp's names. Linear maps are stored `[out, in]` there; no vocabulary is."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config.vocab_size)
    weights = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}

    def add(name, tensor):
        writer.add_tensor(name, numpy.ascontiguousarray(tensor))

    add("token_embd.weight", weights["transformer.wte.weight"])
    add("position_embd.weight", weights["transformer.wpe.weight"])
    add("output.weight", weights["transformer.wte.weight"])
    for kind in ("weight", "bias"):
        add(f"output_norm.{kind}", weights[f"transformer.ln_f.{kind}"])
    linears = {"attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    norms = {"ln_1": "attn_norm", "ln_2": "ffn_norm"}
    for block in range(config.n_layer):
        for theirs, ours in (linears | norms).items():
            for kind in ("weight", "bias"):
                tensor = weights[f"transformer.h.{block}.{theirs}.{kind}"]
                add(f"blk.{block}.{ours}.{kind}", tensor.T if theirs in linears and kind == "weight" else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Llama:
    """llama.cpp through the plain bindings of llama-cpp-python: one batch, a sequence for each text."""

    name = "llama.cpp"

    def __init__(self, path, most):
        import llama_cpp

        self.lib = llama_cpp
        self.log = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_seq_max = (PROMPT + NEW) * most, PROMPT * most, most
        params.n_threads = params.n_threads_batch = torch.get_num_threads()
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        params.kv_unified = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.batch = llama_cpp.llama_batch_init(PROMPT * most, 0, 1)

    def run(self, tokens, first):
        """Decodes `[sequence, position]` from position `first`; the next token of each sequence."""
        batch, last = self.batch, []
        batch.n_tokens = 0
        for sequence, row in enumerate(tokens):
            for offset, token in enumerate(row):
                place = batch.n_tokens
                batch.token[place], batch.pos[place] = int(token), first + offset
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
                batch.logits[place] = offset == len(row) - 1
                batch.n_tokens += 1
            last.append(batch.n_tokens - 1)
        status = self.lib.llama_decode(self.context, batch)
        assert status == 0, f"llama_decode gave {status}"
        logits = [numpy.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, row), (common.VOCABULARY,))
                  for row in last]
        return [[int(row.argmax())] for row in logits]

    def seconds(self, batch):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        start = time.perf_counter()
        tokens = self.run(prompts(batch), 0)
        for position in range(PROMPT, PROMPT + NEW - 1):
            tokens = self.run(tokens, position)
        return time.perf_counter() - start

    def check(self, model):
        """That it computes what transformers does: the same first tokens."""
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        ids = prompts(4)
        with torch.inference_mode():
            expected = model(torch.tensor(ids)).logits[:, -1].argmax(-1).tolist()
        found = [token for (token,) in self.run(ids, 0)]
        assert found == expected, f"llama.cpp chose {found}, transformers {expected}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--llama", action="store_true", help="also llama.cpp")
    parser.add_argument("--program", default=ROOT / "target/release/examples/generate")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = make_model(folder)
        peers = [Transformers(model)]
        if args.llama:
            write_gguf(model, folder / "model.gguf")
            peers.append(Llama(folder / "model.gguf", max(4, *args.batches)))
            peers[-1].check(model)
        lode = Lode(args.program, folder)
        for batch in args.batches:
            for one in [lode, *peers]:
                one.seconds(batch)
            rounds = [[one.seconds(batch) for one in [lode, *peers]] for _ in range(args.rounds)]
            speeds = [batch * NEW / statistics.median(one) for one in zip(*rounds)]
            print(f"batch {batch}: Lode {speeds[0]:.1f} tokens/s", end="")
            for number, peer in enumerate(peers, 1):
                ratios = [one[number] / one[0] for one in rounds]
                print(f"; {peer.name} {speeds[number]:.1f}, ratio {statistics.median(ratios):.2f} "
                      f"({min(ratios):.2f} to {max(ratios):.2f})", end="")
            print(flush=True)
        print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}, {args.rounds} rounds")


if __name__ == "__main__":
    main()
