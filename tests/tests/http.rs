//! The HTTP API on real processes: text in the shapes of OpenAI's API, the index as JSON, and who may ask.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{collections::BTreeSet, io::Read as _};

use lode_tests::{Answer, Cluster, Flags, Front, Program, demo_concepts, demo_model, wait_until};
use serde_json::{Value, json};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A cluster with one worker that serves HTTP, and two concepts.
fn cluster(flags: &str) -> (Cluster, Front) {
    let coordinator = [words("--http 127.0.0.1:0"), words(flags)].concat();
    let mut cluster = Cluster::start_with(Flags { coordinator, ..Flags::default() }, 1, &demo_model());
    let file = |path: &str| demo_concepts().join(path).display().to_string();
    cluster.lode(&["mine", "--model", "m", &file("gender/woman.json"), &file("gender/man.json")]).ok();
    let front = cluster.coordinator.as_mut().unwrap().front();
    (cluster, front)
}

fn with(base: &Value, more: &Value) -> Value {
    let mut both = base.clone();
    for (key, value) in more.as_object().unwrap() {
        both[key] = value.clone();
    }
    both
}

fn texts(reply: &Value) -> Vec<String> {
    let text = |choice: &Value| choice["text"].as_str().or(choice["message"]["content"].as_str()).unwrap().to_owned();
    reply["choices"].as_array().unwrap().iter().map(text).collect()
}

/// What a stream's pieces come to: the text of every choice, and how each ended.
fn gathered(pieces: &[Value], choices: usize) -> (Vec<String>, Vec<Value>) {
    let (mut texts, mut ends) = (vec![String::new(); choices], vec![Value::Null; choices]);
    for choice in pieces.iter().flat_map(|piece| piece["choices"].as_array().unwrap()) {
        let number = choice["index"].as_u64().unwrap() as usize;
        texts[number] += choice["text"].as_str().or(choice["delta"]["content"].as_str()).unwrap_or_default();
        if !choice["finish_reason"].is_null() {
            ends[number] = choice.clone();
        }
    }
    (texts, ends)
}

#[test]
fn text_is_what_grpc_gives_whole_or_in_pieces() {
    let (cluster, front) = cluster("");
    let base = json!({"model": "m", "prompt": "Yesterday", "max_tokens": 12, "seed": 7, "n": 3,
        "condition": {"concept": "gender/woman", "k": 20, "positions": "generated"}});
    let reply = front.post(COMPLETIONS, &base).ok();
    let said = cluster.lode(&[
        "--format",
        "json",
        "generate",
        "--model",
        "m",
        "--prompt",
        "Yesterday",
        "--max-new-tokens",
        "12",
        "--seed",
        "7",
        "--num",
        "3",
        "--concept",
        "gender/woman",
        "--k",
        "20",
        "--positions",
        "generated",
    ]);
    let samples: Value = serde_json::from_str(&said.ok()).unwrap();
    let samples = samples.as_array().unwrap();
    let expected: Vec<&str> = samples.iter().map(|sample| sample["text"].as_str().unwrap()).collect();
    assert_eq!(texts(&reply), expected);
    let sum = |name: &str| samples.iter().map(|sample| sample[name].as_u64().unwrap()).sum::<u64>();
    let prompt = samples[0]["prompt_tokens"].as_u64().unwrap();
    let generated = sum("generated_tokens");
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated});
    assert_eq!(reply["usage"], usage);
    for (choice, sample) in reply["choices"].as_array().unwrap().iter().zip(samples) {
        for name in ["units", "layers", "positions", "writes"] {
            assert_eq!(choice["forced"][name], sample[format!("forced_{name}")], "{choice}");
        }
    }

    let streaming = with(&base, &json!({"stream": true, "stream_options": {"include_usage": true}}));
    let (pieces, is_done) = front.post(COMPLETIONS, &streaming).pieces();
    assert!(is_done);
    let (streamed, ends) = gathered(&pieces, 3);
    assert_eq!(streamed, expected);
    let end_of = |choice: &Value| (choice["finish_reason"].clone(), choice["forced"].clone());
    let whole: Vec<_> = reply["choices"].as_array().unwrap().iter().map(end_of).collect();
    assert_eq!(ends.iter().map(end_of).collect::<Vec<_>>(), whole);
    let (last, others) = pieces.split_last().unwrap();
    assert_eq!((&last["usage"], &last["choices"]), (&usage, &json!([])));
    assert!(others.iter().all(|piece| piece["usage"].is_null() && piece["id"] == last["id"]));
    assert!(others.len() > 6, "it comes piece by piece, not at once");
    let plain = front.post(COMPLETIONS, &with(&base, &json!({"stream": true}))).pieces();
    assert!(plain.1 && plain.0.iter().all(|piece| piece.get("usage").is_none()));
}

#[test]
fn requests_say_what_they_mean() {
    let (_cluster, front) = cluster("");
    let base = json!({"model": "m", "prompt": "Yesterday", "max_tokens": 12, "seed": 3, "ignored": true});
    let ask = |more: Value| front.post(COMPLETIONS, &with(&base, &more)).ok();
    let plain = ask(json!({}));
    assert_eq!(plain["choices"][0]["forced"]["units"], 0);
    // Tools that cannot add fields say it in the model's name.
    let by_field = ask(json!({"condition": {"concept": "gender/woman", "k": 30}}));
    let by_name = ask(json!({"model": "m@gender/woman:30"}));
    assert_eq!(texts(&by_field), texts(&by_name));
    assert_eq!(
        (&by_name["model"], &by_name["choices"][0]["forced"]["units"]),
        (&"m@gender/woman:30".into(), &json!(30))
    );
    assert_ne!(texts(&plain), texts(&by_field));
    let by_list = ask(json!({"condition": [{"concept": "gender/woman", "k": 20}, {"concept": "gender/man", "k": 20}]}));
    assert_eq!(texts(&by_list), texts(&ask(json!({"model": "m@gender/woman:20+gender/man:20"}))));
    assert_eq!(
        texts(&by_list),
        texts(&ask(json!({"model": "m@gender/woman:20", "condition": {"concept": "gender/man", "k": 20}})))
    );
    let listed = ask(json!({"condition": {"units": [0, 1, "transformer.h.0.mlp.c_fc[3]"], "value": "zero"}}));
    assert_eq!(listed["choices"][0]["forced"]["units"], 3);

    // Several prompts: each gives what it gives alone.
    let alone: Vec<_> =
        ["Yesterday", "The nurse"].iter().flat_map(|prompt| texts(&ask(json!({"prompt": prompt, "n": 2})))).collect();
    let together = ask(json!({"prompt": ["Yesterday", "The nurse"], "n": 2}));
    assert_eq!(texts(&together), alone);

    // A stop text ends the text, and is not in it.
    let whole = texts(&plain).remove(0);
    let stop = whole.split_whitespace().nth(2).unwrap();
    let stopped = ask(json!({"stop": [stop, "never"]}));
    assert_eq!(texts(&stopped)[0], whole[..whole.find(stop).unwrap()]);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(plain["choices"][0]["finish_reason"], "length");
    let greedy = |seed: u64| texts(&ask(json!({"temperature": 0, "seed": seed})));
    assert_eq!(greedy(1), greedy(2));
    let unseeded = |_| texts(&ask(json!({"seed": null, "n": 4}))).join("|");
    assert_ne!(unseeded(1), unseeded(2), "without a seed every request draws anew");

    let told =
        ask(json!({"logprobs": 2, "observe": ["gender/woman", {"concept": "gender/man", "k": 10}], "temperature": 0}));
    let choice = &told["choices"][0];
    let tokens = choice["logprobs"]["tokens"].as_array().unwrap();
    assert_eq!(tokens.iter().map(|token| token.as_str().unwrap()).collect::<String>(), texts(&told)[0]);
    assert_eq!(choice["logprobs"]["text_offset"][0], "Yesterday".len());
    let observed = choice["observed"].as_array().unwrap();
    assert_eq!((observed.len(), tokens.len()), (12, 12));
    assert!(observed.iter().all(|one| one["gender/woman"].is_number() && one["gender/man"].is_number()));
    let streamed = with(
        &base,
        &json!({"logprobs": 2, "observe": ["gender/woman", "gender/man"], "temperature": 0, "stream": true}),
    );
    let (pieces, _) = front.post(COMPLETIONS, &streamed).pieces();
    let offsets: Vec<&Value> =
        pieces.iter().flat_map(|piece| piece["choices"][0]["logprobs"]["text_offset"].get(0)).collect();
    assert_eq!(offsets, choice["logprobs"]["text_offset"].as_array().unwrap().iter().collect::<Vec<_>>());
}

/// Biases decide over all logits that a model has; penalties keep a text from saying the same again.
#[test]
fn penalties_and_biases_reach_the_sampler() {
    let (_cluster, front) = cluster("");
    let base = json!({"model": "m", "prompt": "Yesterday", "max_tokens": 40, "temperature": 0, "logprobs": 0});
    let tokens = |more: Value| -> Vec<String> {
        let reply: Value = front.post(COMPLETIONS, &with(&base, &more)).json();
        let tokens = reply["choices"][0]["logprobs"]["tokens"].as_array().unwrap();
        tokens.iter().map(|token| token.as_str().unwrap().to_owned()).collect()
    };
    let distinct = |tokens: &[String]| tokens.iter().collect::<BTreeSet<_>>().len();
    let biased = tokens(json!({"logit_bias": {"50": 60}}));
    assert_eq!((biased.len(), distinct(&biased)), (40, 1), "{biased:?}");
    // After thirty times there is nothing left of the bias.
    let counted = tokens(json!({"logit_bias": {"50": 60}, "frequency_penalty": 2}));
    assert_eq!((&counted[0], distinct(&counted) > 1), (&biased[0], true), "{counted:?}");
    let (plain, once) = (tokens(json!({})), tokens(json!({"presence_penalty": 2})));
    assert!(distinct(&once) > distinct(&plain), "{plain:?} {once:?}");
}

#[track_caller]
fn refused(answer: &Answer, status: u16, param: Option<&str>, said: &str) {
    let error = &answer.json()["error"];
    assert_eq!(answer.status, status, "{error}");
    assert_eq!(error["param"].as_str(), param, "{error}");
    assert!(error["message"].as_str().unwrap().contains(said), "{said:?} is not in {error}");
}

#[test]
fn what_is_wrong_is_said_where() {
    let (_cluster, front) = cluster("");
    let base = json!({"model": "m", "prompt": "Yesterday", "max_tokens": 4});
    for (more, status, param, said) in [
        (json!({"model": "nobody"}), 404, Some("model"), "nobody"),
        (json!({"model": null}), 400, Some("model"), "/v1/models"),
        (json!({"model": "m@woman"}), 400, Some("model"), "GROUP/NAME"),
        (json!({"model": "m@gender/nobody"}), 404, Some("condition"), "gender/nobody"),
        (json!({"condition": {"concept": "gender/nobody"}}), 404, Some("condition"), "gender/nobody"),
        (json!({"condition": {"concept": "gender/woman", "k": 4609}}), 400, None, "4609"),
        (json!({"condition": {"concept": "gender/woman", "k": 0}}), 400, None, "0"),
        (json!({"condition": {"concept": "gender/woman", "K": 5}}), 400, Some("condition.K"), "unknown field"),
        (json!({"observe": ["gender/nobody"]}), 404, Some("condition"), "gender/nobody"),
        (json!({"prompt": "so ".repeat(200)}), 400, None, "tokens"),
        (json!({"prompt": null}), 400, Some("prompt"), "missing"),
        (json!({"prompt": []}), 400, Some("prompt"), "empty"),
        (json!({"prompt": [1, 2]}), 400, Some("prompt"), "token ids"),
        (json!({"temperature": -1}), 400, Some("temperature"), "0 or more"),
        (json!({"temperature": "hot"}), 400, Some("temperature"), "hot"),
        (json!({"top_p": 0}), 400, Some("top_p"), "above 0"),
        (json!({"max_tokens": 0}), 400, Some("max_tokens"), "at least 1"),
        (json!({"n": 0}), 400, Some("n"), "1 to 128"),
        (json!({"n": 129}), 400, Some("n"), "1 to 128"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), 400, Some("stop"), "1 to 4"),
        (json!({"logprobs": 21}), 400, Some("logprobs"), "at most 20"),
        (json!({"echo": true}), 400, Some("echo"), "not supported"),
        (json!({"suffix": "end"}), 400, Some("suffix"), "not supported"),
        (json!({"best_of": 3}), 400, Some("best_of"), "not supported"),
        (json!({"presence_penalty": 2.5}), 400, Some("presence_penalty"), "-2 to 2"),
        (json!({"frequency_penalty": -3}), 400, Some("frequency_penalty"), "-2 to 2"),
        (json!({"logit_bias": {"the": 1}}), 400, Some("logit_bias"), "token ids"),
        (json!({"logit_bias": {"5": -101}}), 400, Some("logit_bias"), "-100 to 100"),
        (json!({"logit_bias": {"5": "much"}}), 400, Some("logit_bias.5"), "much"),
        (json!({"logit_bias": {"999999": 1}}), 400, None, "vocabulary"),
        (json!({"stream_options": {"include_usage": true}}), 400, Some("stream_options"), "stream"),
    ] {
        refused(&front.post(COMPLETIONS, &with(&base, &more)), status, param, said);
        // A stream that cannot begin is refused as the whole is.
        if more.get("stream_options").is_none() {
            refused(
                &front.post(COMPLETIONS, &with(&base, &with(&more, &json!({"stream": true})))),
                status,
                param,
                said,
            );
        }
    }
    let exploded = json!({"condition": {"concept": "gender/woman", "k": 4608, "value": 3e38}});
    refused(&front.post(COMPLETIONS, &with(&base, &exploded)), 400, Some("condition"), "out of its numbers");
    refused(&front.ask(&format!("POST {COMPLETIONS}"), "", "{\"model\": "), 400, None, "line 1");
    refused(&front.ask(&format!("POST {COMPLETIONS}"), "", &" ".repeat((1 << 20) + 1)), 413, None, "1048576");
    refused(&front.get(COMPLETIONS), 405, None, "GET");
    refused(&front.get("/v1/nothing"), 404, None, "/openapi.json");
    refused(
        &front.post(CHAT, &json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})),
        400,
        Some("model"),
        "no chat template",
    );
    refused(&front.get("/v1/models/nobody"), 404, Some("model"), "nobody");
    refused(&front.get("/v1/models/m@gender/nobody:3"), 404, Some("model"), "gender/nobody");
    for (path, status, param, said) in [
        ("nobody/concepts", 404, "model", "nobody"),
        ("m/units/top?concept=gender/nobody", 404, "concept", "gender/nobody"),
        ("m/units/top", 400, "concept", "missing"),
        ("m/units/top?concept=gender/woman&tops=3", 400, "tops", "no parameter `tops`"),
        ("m/units/show?unit=transformer.h.0.mlp.c_fc[99999]", 404, "unit", "99999"),
        ("m/units/layers?concept=gender/woman&top=many", 400, "top", "many"),
        ("m/overlap?first=gender/woman", 400, "second", "missing"),
        ("m/nearest?concept=gender/woman&limit=0", 400, "limit", "at least 1"),
    ] {
        refused(&front.get(&format!("/v1/lode/models/{path}")), status, Some(param), said);
    }
}

#[test]
fn the_index_says_the_same_as_the_command_line() {
    let (cluster, front) = cluster("");
    let said = |args: &[&str]| -> Value {
        serde_json::from_str(&cluster.lode(&[&["--format", "json"], args].concat()).ok()).unwrap()
    };
    let models = front.get("/v1/lode/models").ok();
    assert_eq!(models, said(&["status"])["models"]);
    let unit = "transformer.h.1.mlp.c_fc[5]";
    for (path, args) in [
        ("concepts", vec!["concepts", "--model", "m"]),
        (
            "units/top?concept=gender/woman&top=7&layer=*.mlp.*",
            vec!["units", "top", "--model", "m", "--concept", "gender/woman", "--top", "7", "--layer", "*.mlp.*"],
        ),
        (
            "units/top?concept=gender/woman&bottom=true&min_ap=0.4",
            vec!["units", "top", "--model", "m", "--concept", "gender/woman", "--bottom", "--min-ap", "0.4"],
        ),
        ("units/show?unit=transformer.h.1.mlp.c_fc%5B5%5D", vec!["units", "show", "--model", "m", unit]),
        (
            "units/layers?concept=gender/woman&min_ap=0.8",
            vec!["units", "layers", "--model", "m", "--concept", "gender/woman", "--min-ap", "0.8"],
        ),
        (
            "overlap?first=gender/woman&second=gender/man&top=100",
            vec!["overlap", "--model", "m", "gender/woman", "gender/man", "--top", "100"],
        ),
        ("nearest?concept=gender/woman", vec!["nearest", "--model", "m", "gender/woman"]),
    ] {
        let answer = front.get(&format!("/v1/lode/models/m/{path}")).ok();
        assert_eq!(answer, said(&args), "{path}");
        assert_ne!(answer, json!([]), "{path}");
    }
    let listed = front.get("/v1/models").ok();
    assert_eq!(listed["data"][0]["id"], "m");
    assert_eq!(front.get("/v1/models/m").ok(), listed["data"][0]);
    assert_eq!(front.get("/v1/models/m@gender/woman:5").ok()["id"], "m@gender/woman:5");
}

/// A model as the bundled one, with a chat template.
fn chat_model(folder: &std::path::Path) -> std::path::PathBuf {
    let model = folder.join("chat-model");
    std::fs::create_dir(&model).unwrap();
    for file in std::fs::read_dir(demo_model()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    let template = "{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}\
                    {{ message.content }} {% endfor %}{% if add_generation_prompt %}The{% endif %}";
    std::fs::write(model.join("chat_template.jinja"), template).unwrap();
    model
}

#[test]
fn a_conversation_is_continued_as_its_template_writes_it() {
    let flags = Flags { coordinator: words("--http 127.0.0.1:0"), ..Flags::default() };
    let mut cluster = Cluster::start_with(flags, 0, &demo_model());
    let model = chat_model(cluster.folder());
    cluster.start_worker(&model);
    let front = cluster.coordinator.as_mut().unwrap().front();
    assert_eq!(front.get("/v1/models/m").ok()["chat"], true);
    let messages = json!([{"role": "system", "content": "Yesterday was cold."}, {"role": "user", "content": [{"type": "text", "text": "And today?"}]}]);
    let base = json!({"model": "m", "messages": messages, "max_completion_tokens": 10, "seed": 4, "logprobs": true, "top_logprobs": 2});
    let reply = front.post(CHAT, &base).ok();
    let same = json!({"model": "m", "prompt": "Yesterday was cold. And today? The", "max_tokens": 10, "seed": 4});
    let same = front.post(COMPLETIONS, &same).ok();
    assert_eq!(texts(&reply), texts(&same));
    assert_eq!(reply["usage"], same["usage"]);
    assert_eq!(
        (&reply["object"], &reply["choices"][0]["message"]["role"]),
        (&"chat.completion".into(), &"assistant".into())
    );
    let tokens = reply["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let spelled: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!([spelled], texts(&reply)[..], "{reply}");
    assert!(!tokens.is_empty() && tokens.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 2));
    let (pieces, is_done) = front.post(CHAT, &with(&base, &json!({"stream": true}))).pieces();
    assert!(is_done);
    assert_eq!(pieces[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(gathered(&pieces, 1).0, texts(&reply));
    let endless = front.post(CHAT, &with(&base, &json!({"max_completion_tokens": null}))).ok();
    assert!(endless["usage"]["total_tokens"].as_u64().unwrap() <= 128);
    let tool = json!({"messages": [{"role": "tool", "content": "4"}]});
    refused(&front.post(CHAT, &with(&base, &tool)), 400, Some("messages"), "no tools here");
    refused(&front.post(CHAT, &with(&base, &json!({"messages": []}))), 400, Some("messages"), "empty");
    refused(&front.post(CHAT, &with(&base, &json!({"tools": [{}]}))), 400, Some("tools"), "not supported");
    refused(&front.post(CHAT, &with(&base, &json!({"logprobs": false}))), 400, Some("top_logprobs"), "logprobs");
}

#[test]
fn who_asks_shows_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "reader r-1\nworker w-1\nreader slow-1\n").unwrap();
    let file = tokens.display();
    let coordinator = words(&format!("--http 127.0.0.1:0 --token-file {file} --rate-limit 5"));
    let worker = words("--token w-1");
    let mut cluster =
        Cluster::start_with(Flags { coordinator, worker, client: words("--token r-1") }, 1, &demo_model());
    let front = cluster.coordinator.as_mut().unwrap().front();
    let ask = |token: &str| front.ask("GET /v1/models", &format!("authorization: Bearer {token}\r\n"), "");
    assert_eq!(ask("r-1").ok()["data"][0]["id"], "m");
    let none = front.get("/v1/models");
    refused(&none, 401, None, "Authorization: Bearer");
    assert_eq!(
        (none.header("www-authenticate"), &none.json()["error"]["code"]),
        (Some("Bearer"), &"invalid_api_key".into())
    );
    refused(&ask("nobody"), 401, None, "none of this cluster's");
    refused(&ask("w-1"), 403, None, "the token is a worker's, but /v1/models is for");
    refused(&front.post(COMPLETIONS, &json!({"model": "m", "prompt": "Hi"})), 401, None, "token");
    // A token has a rate.
    let busy = (0..50).map(|_| ask("slow-1")).find(|answer| answer.status != 200).unwrap();
    refused(&busy, 429, None, "too many calls");
    assert_eq!((busy.header("retry-after"), &busy.json()["error"]["type"]), (Some("1"), &"rate_limit_error".into()));
    assert_eq!(ask("r-1").status, 200, "others are not concerned");
    for open in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(front.get(open).status, 200, "{open}");
    }
    let id = front.ask("GET /v1/models", "x-request-id: nightly-7\r\n", "");
    assert_eq!(id.header("x-request-id"), Some("nightly-7"));

    let data = folder.path().join("other").display().to_string();
    let flags = words(&format!("--data-dir {data} --grpc 127.0.0.1:0 --http 0.0.0.0:0"));
    let mut open = Program::start("lode-coordinator", folder.path(), &flags);
    assert!(!open.wait().success());
    assert!(open.log().contains("without tokens"), "{}", open.log());
}

#[test]
fn who_leaves_is_not_generated_for() {
    let flags =
        Flags { coordinator: words("--http 127.0.0.1:0"), worker: words("--http 127.0.0.1:0"), ..Flags::default() };
    let mut cluster = Cluster::start_with(flags, 1, &demo_model());
    let front = cluster.coordinator.as_mut().unwrap().front();
    let worker = cluster.workers[0].front();
    let active = || worker.metric("lode_worker_sequences_active");
    let generated = || worker.metric("lode_worker_tokens_generated_total");
    for (count, stream) in [(1.0, true), (2.0, false)] {
        let body =
            json!({"model": "m", "prompt": "Yesterday", "max_tokens": 120, "n": 100, "stream": stream}).to_string();
        let mut left = front.send(&format!("POST {COMPLETIONS}"), "", &body);
        if stream {
            left.read_exact(&mut [0; 1]).unwrap();
        }
        wait_until("it is generated for", || active() > 0.0);
        drop(left);
        wait_until("its places are free", || active() == 0.0);
        wait_until("it counts as abandoned", || {
            front.metric("lode_generate_requests_total{outcome=\"abandoned\"}") == count
        });
    }
    assert!(generated() < 2.0 * 100.0 * 120.0, "{}", generated());
    // A worker that dies amid a stream ends it with an error, and without [DONE].
    let body = json!({"model": "m", "prompt": "Yesterday", "max_tokens": 120, "n": 100, "stream": true}).to_string();
    let mut cut = front.send(&format!("POST {COMPLETIONS}"), "", &body);
    let mut first = [0; 1];
    cut.read_exact(&mut first).unwrap();
    cluster.workers[0].kill();
    let mut rest = String::new();
    cut.read_to_string(&mut rest).unwrap();
    let (pieces, is_done) = Answer::read(&format!("{}{rest}", char::from(first[0]))).pieces();
    assert!(!is_done);
    let error = &pieces.last().unwrap()["error"];
    assert_eq!(error["type"], "server_error", "{error}");
    let later = front.post(COMPLETIONS, &json!({"model": "m", "prompt": "Yesterday"}));
    refused(&later, 503, None, "no worker has model");
    assert!(later.header("retry-after").is_some());
    assert_eq!(front.get("/v1/models").ok()["data"], json!([]));
}

/// Probes are answered when all connections have calls that run; who else comes is told to come again.
#[test]
fn probes_are_answered_when_all_connections_are_in_use() {
    let (cluster, front) = cluster("--max-connections 3");
    // A worker that does not answer: who asks for text waits.
    cluster.workers[0].freeze();
    let body = json!({"model": "m", "prompt": "Yesterday", "max_tokens": 120, "n": 64, "stream": true}).to_string();
    // A connection that has not said anything yet makes room for the next one, so they come until all seats are taken by calls.
    let mut held = Vec::new();
    wait_until("all connections are in use", || {
        held.push(front.send(&format!("POST {COMPLETIONS}"), "", &body));
        let answer = front.get("/v1/models");
        answer.status == 503 && answer.body.contains("too many connections")
    });
    assert_eq!(front.get("/healthz").status, 200);
    assert_eq!(front.get("/readyz").status, 200);
}
