"""OpenAI's own Python client against a server with the bundled model."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import openai

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ["LODE_PROGRAMS"])
READER, MINER, SLOW = "reader-4f0a", "miner-91bd", "slow-77c2"
WOMAN = "gender/woman"
# In the way of the templates that models carry.
TEMPLATE = "{% for message in messages %}{{ message['content'].strip() }} {% endfor %}{% if add_generation_prompt %}The{% endif %}"


class Server:
    """A cluster in one process, with tokens, a chat template and two concepts."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lode-openai-"))
        tokens = self.folder / "tokens"
        tokens.write_text(f"reader {READER}\nminer {MINER}\nreader {SLOW}\n")
        model = self.folder / "model"
        shutil.copytree(REPOSITORY / "client/demo/assets/model", model)
        (model / "chat_template.jinja").write_text(TEMPLATE)
        self.log = self.folder / "log"
        command = [PROGRAMS / "lode", "up", "--model", f"demo={model}", "--device", "cpu", "--data-dir", self.folder / "data"]
        command += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--token-file", tokens, "--rate-limit", "20"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=dict(os.environ, NO_COLOR="1"))
        # It writes its URL once its worker is there.
        self.grpc = self.process.stdout.readline().decode().strip()
        said = self.log.read_text()
        assert self.grpc, said
        self.http = re.search(r"HTTP front up address=(\S+)", said)[1]
        concepts = [REPOSITORY / f"client/demo/assets/concepts/gender/{name}.json" for name in ("woman", "man")]
        self.lode("mine", "--model", "demo", *concepts)

    def lode(self, *args):
        command = [PROGRAMS / "lode", "--coordinator", self.grpc, "--token", MINER, *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def client(self, token=READER):
        return openai.OpenAI(base_url=f"http://{self.http}/v1", api_key=token, max_retries=0, timeout=60)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        shutil.rmtree(self.folder)


def setUpModule():
    global server, client
    server = Server()
    client = server.client()


def tearDownModule():
    server.stop()


def complete(**more):
    return client.completions.create(**{"model": "demo", "prompt": "Yesterday", "max_tokens": 12, "seed": 7, **more})


def text(**more):
    return complete(**more).choices[0].text


def conditioned(k, **more):
    return {"extra_body": {"condition": {"concept": WOMAN, "k": k, **more}}}


class Completions(unittest.TestCase):
    def test_a_text_is_continued(self):
        reply = complete()
        self.assertEqual((reply.object, reply.model, len(reply.choices)), ("text_completion", "demo", 1))
        self.assertEqual((reply.choices[0].finish_reason, reply.usage.completion_tokens), ("length", 12))
        self.assertEqual(reply.usage.total_tokens, reply.usage.prompt_tokens + 12)
        said = server.lode("--format", "json", "generate", "--model", "demo", "--prompt", "Yesterday", "--max-new-tokens", "12", "--seed", "7")
        self.assertEqual(reply.choices[0].text, json.loads(said)[0]["text"])

    def test_a_stream_is_the_same_in_pieces(self):
        whole = complete(n=3)
        stream = complete(n=3, stream=True, stream_options={"include_usage": True})
        texts, reasons, pieces, usage = [""] * 3, [None] * 3, 0, None
        for piece in stream:
            pieces += 1
            usage = piece.usage or usage
            for choice in piece.choices:
                texts[choice.index] += choice.text
                reasons[choice.index] = choice.finish_reason or reasons[choice.index]
        self.assertEqual(texts, [choice.text for choice in whole.choices])
        self.assertEqual(reasons, [choice.finish_reason for choice in whole.choices])
        self.assertEqual(usage, whole.usage)
        self.assertGreater(pieces, 10)

    def test_seeds_and_choices(self):
        four = [choice.text for choice in complete(n=4).choices]
        self.assertEqual(four, [choice.text for choice in complete(n=4).choices])
        self.assertEqual(four[0], text())
        self.assertEqual(len(set(four)), 4)
        self.assertNotEqual(four[0], text(seed=8))
        self.assertEqual(text(temperature=0, seed=1), text(temperature=0, seed=2))
        prompts = ["Yesterday", "The nurse"]
        alone = [text(prompt=prompt) for prompt in prompts]
        self.assertEqual([choice.text for choice in complete(prompt=prompts).choices], alone)

    def test_stop(self):
        whole = text()
        word = whole.split()[3]
        stopped = complete(stop=[word, "\n\n"]).choices[0]
        self.assertEqual((stopped.text, stopped.finish_reason), (whole[: whole.index(word)], "stop"))
        self.assertEqual(text(stop=word), stopped.text)

    def test_logprobs(self):
        reply = complete(logprobs=3, temperature=0).choices[0]
        told = reply.logprobs
        self.assertEqual("".join(told.tokens), reply.text)
        self.assertEqual(len(told.tokens), 12)
        for token, logprob, top in zip(told.tokens, told.token_logprobs, told.top_logprobs):
            # At temperature 0 the most probable one is drawn.
            self.assertEqual((max(top.values()), top[token]), (logprob, logprob))
            self.assertEqual(len(top), 3)
        self.assertEqual(told.text_offset[0], len("Yesterday"))


    def test_penalties_and_biases(self):
        def tokens(**more):
            return complete(temperature=0, max_tokens=40, logprobs=0, **more).choices[0].logprobs.tokens

        biased = tokens(logit_bias={"50": 60})
        self.assertEqual((len(biased), len(set(biased))), (40, 1))
        # After thirty times there is nothing left of the bias.
        self.assertGreater(len(set(tokens(logit_bias={"50": 60}, frequency_penalty=2))), 1)
        self.assertGreater(len(set(tokens(presence_penalty=2))), len(set(tokens())))


class Conditions(unittest.TestCase):
    def test_by_field_and_by_name(self):
        by_field = complete(**conditioned(30))
        by_name = complete(model=f"demo@{WOMAN}:30")
        self.assertEqual(by_field.choices[0].text, by_name.choices[0].text)
        self.assertNotEqual(by_field.choices[0].text, text())
        self.assertEqual(by_field.choices[0].forced["units"], 30)
        self.assertEqual(complete().choices[0].forced["units"], 0)
        both = complete(model=f"demo@{WOMAN}:30+gender/man:30").choices[0].forced["units"]
        self.assertTrue(30 < both <= 60, both)

    def test_all_that_a_condition_can_be(self):
        for more in ({"value": "p90"}, {"value": 0}, {"value": "scale:2"}, {"rank": "random"}, {"rank": "next"}, {"positions": "0..2"}):
            forced = complete(**conditioned(20, **more)).choices[0].forced
            self.assertEqual(forced["units"], 20, more)
        units = {"condition": {"units": ["transformer.h.0.mlp.c_fc[3]", 17], "value": "zero"}}
        self.assertEqual(complete(extra_body=units).choices[0].forced["units"], 2)

    def test_observation(self):
        reply = complete(extra_body={"condition": {"concept": WOMAN, "k": 50}, "observe": [WOMAN, "gender/man"]})
        observed = reply.choices[0].observed
        self.assertEqual(len(observed), 12)
        for strengths in observed:
            # What is forced to the positives' mean responds as they do.
            self.assertAlmostEqual(strengths[WOMAN], 1, places=3)
            self.assertLess(strengths["gender/man"], 1)
        pieces = complete(stream=True, extra_body={"observe": [WOMAN]})
        self.assertEqual(sum(len(getattr(choice, "observed", None) or []) for piece in pieces for choice in piece.choices), 12)


class Chat(unittest.TestCase):
    messages = [{"role": "system", "content": "Yesterday was cold."}, {"role": "user", "content": "And today?"}]

    def ask(self, **more):
        settings = {"model": "demo", "messages": self.messages, "max_completion_tokens": 10, "seed": 3, **more}
        return client.chat.completions.create(**settings)

    def test_a_conversation_is_continued(self):
        reply = self.ask(n=2, logprobs=True, top_logprobs=2)
        self.assertEqual((reply.object, reply.choices[0].message.role), ("chat.completion", "assistant"))
        written = complete(prompt="Yesterday was cold. And today? The", max_tokens=10, seed=3, n=2)
        said = [choice.message.content for choice in reply.choices]
        self.assertEqual(said, [choice.text for choice in written.choices])
        tokens = reply.choices[0].logprobs.content
        self.assertEqual(b"".join(bytes(token.bytes) for token in tokens).decode(), said[0])
        self.assertEqual(len(tokens[0].top_logprobs), 2)
        texts = ["", ""]
        for piece in self.ask(n=2, stream=True):
            for choice in piece.choices:
                texts[choice.index] += choice.delta.content or ""
        self.assertEqual(texts, said)

    def test_conditions(self):
        by_field = self.ask(**conditioned(30))
        self.assertEqual(by_field.choices[0].message.content, self.ask(model=f"demo@{WOMAN}:30").choices[0].message.content)
        self.assertEqual(by_field.choices[0].forced["units"], 30)


class Models(unittest.TestCase):
    def test_models(self):
        self.assertEqual([model.id for model in client.models.list()], ["demo"])
        self.assertTrue(client.models.retrieve("demo").chat)
        self.assertEqual(client.models.retrieve(f"demo@{WOMAN}:5").id, f"demo@{WOMAN}:5")
        with self.assertRaises(openai.NotFoundError):
            client.models.retrieve("nobody")


class Errors(unittest.TestCase):
    def refused(self, kind, code, said, **more):
        for stream in (False, True):
            with self.assertRaises(kind) as caught:
                complete(stream=stream, **more)
            self.assertEqual(caught.exception.code, code)
            self.assertIn(said, caught.exception.message)
        return caught.exception

    def test_what_is_wrong_is_said(self):
        nobody = {"extra_body": {"condition": {"concept": "gender/nobody"}}}
        error = self.refused(openai.NotFoundError, "concept_not_found", "gender/nobody", **nobody)
        self.assertEqual(error.param, "condition")
        self.refused(openai.NotFoundError, "concept_not_found", "gender/nobody", model="demo@gender/nobody:5")
        self.refused(openai.NotFoundError, "model_not_found", "other", model="other")
        self.refused(openai.BadRequestError, None, "4608", **conditioned(4609))
        self.refused(openai.BadRequestError, None, "127", **conditioned(5, positions="all"), prompt="so " * 200)
        misspelt = {"extra_body": {"condition": {"concept": WOMAN, "K": 5}}}
        self.assertEqual(self.refused(openai.BadRequestError, None, "unknown field `K`", **misspelt).param, "condition.K")
        self.refused(openai.BadRequestError, "unsupported_parameter", "suffix", suffix="end")
        self.assertEqual(self.refused(openai.BadRequestError, None, "-2 to 2", presence_penalty=3).param, "presence_penalty")
        self.assertEqual(self.refused(openai.BadRequestError, None, "token ids", logit_bias={"the": 1}).param, "logit_bias")

    def test_bad_json(self):
        headers = {"Authorization": f"Bearer {READER}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{server.http}/v1/completions", b'{"model": ', headers)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.exception as answer:
            error = json.load(answer)["error"]
        self.assertEqual((answer.code, error["code"], error["type"]), (400, "invalid_json", "invalid_request_error"))

    def test_tokens_and_quotas(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            server.client("nobody").models.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")
        slow = server.client(SLOW)
        with self.assertRaises(openai.RateLimitError) as caught:
            for _ in range(500):
                slow.models.list()
        self.assertGreaterEqual(int(caught.exception.response.headers["retry-after"]), 1)
        # The client does what the answer says, if it is let.
        patient = slow.with_options(max_retries=5)
        self.assertEqual([model.id for model in patient.models.list()], ["demo"])

    def test_who_leaves_takes_nothing(self):
        def active():
            with urllib.request.urlopen(f"http://{server.http}/metrics") as answer:
                return float(re.search(r"^lode_worker_sequences_active (\S+)", answer.read().decode(), re.M)[1])

        stream = complete(n=64, max_tokens=110, stream=True)
        next(iter(stream))
        stream.close()
        deadline = time.time() + 30
        while active() > 0:
            self.assertLess(time.time(), deadline)
            time.sleep(0.05)

    def test_many_at_once(self):
        def ask(seed):
            time.sleep(seed / 15)
            return text(seed=seed, **conditioned(20 + seed))

        alone = [text(seed=seed, **conditioned(20 + seed)) for seed in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            self.assertEqual(list(pool.map(ask, range(4))), alone)


if __name__ == "__main__":
    unittest.main(verbosity=2)
