//! do(c,k) through a real cluster: the same seed gives the same text, what was forced is counted, requests do not disturb
//! each other.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use lode_tests::{Cluster, binary, demo_concepts, demo_model};
use serde_json::Value;

fn cluster() -> Cluster {
    let cluster = Cluster::start(1, &demo_model());
    let file = |path: &str| demo_concepts().join(path).display().to_string();
    cluster.lode(&["mine", "--model", "m", &file("gender/woman.json"), &file("gender/man.json")]).ok();
    cluster
}

/// Samples as `lode --format json` gives them.
fn generate(cluster: &Cluster, args: &[&str]) -> Vec<Value> {
    let ask = ["--format", "json", "generate", "--model", "m", "--prompt", "Yesterday", "--max-new-tokens", "12"];
    let said = cluster.lode(&[&ask[..], args].concat()).ok();
    let samples: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    samples.as_array().unwrap().clone()
}

fn texts(samples: &[Value]) -> Vec<String> {
    samples.iter().map(|sample| sample["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_seed_gives_the_same_text_alone_and_in_company() {
    let cluster = cluster();
    let with = |seed: &str, num: &str| texts(&generate(&cluster, &["--seed", seed, "--num", num]));
    let four = with("7", "4");
    assert_eq!(four, with("7", "4"));
    assert_eq!(four[..1], with("7", "1"), "a sample does not depend on how many there are");
    assert_ne!(four, with("8", "4"));
    assert_ne!(four[0], four[1], "every sample draws from a stream of its own");
    // Many requests at once share batches; each gives what it gives alone.
    let conditioned = |seed: &str| {
        texts(&generate(&cluster, &["--seed", seed, "--num", "2", "--concept", "gender/woman", "--k", "20"]))
    };
    let alone: Vec<_> = ["1", "2", "3", "4"].map(conditioned).into_iter().collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> =
            ["1", "2", "3", "4"].map(|seed| scope.spawn(move || conditioned(seed))).into_iter().collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
    let greedy = |seed: &str| texts(&generate(&cluster, &["--temperature", "0", "--seed", seed]));
    assert_eq!(greedy("1"), greedy("2"));
}

#[test]
fn the_reply_counts_what_was_forced() {
    let cluster = cluster();
    let coverage = |args: &[&str]| {
        let sample = generate(&cluster, args).remove(0);
        let number = |name: &str| sample[name].as_u64().unwrap_or_else(|| panic!("{name}: {sample}"));
        let (prompt, generated) = (number("prompt_tokens"), number("generated_tokens"));
        (number("forced_units"), number("forced_positions"), number("forced_writes"), prompt, generated)
    };
    let (units, positions, values, ..) = coverage(&[]);
    assert_eq!((units, positions, values), (0, 0, 0));
    let condition = ["--concept", "gender/woman", "--k", "30"];
    // The last token that was drawn is never run, so it has no position to force.
    let (units, positions, values, prompt, generated) = coverage(&condition);
    assert_eq!((units, positions), (30, prompt + generated - 1));
    assert_eq!(values, 30 * positions);
    let (_, positions, _, _, generated) = coverage(&[&condition[..], &["--positions", "generated"]].concat());
    assert_eq!(positions, generated - 1);
    let (_, positions, _, _, generated) = coverage(&[&condition[..], &["--positions", "last"]].concat());
    assert_eq!(positions, generated);
    // Two concepts together: units of either, each once.
    let (both, ..) = coverage(&["--concept", "gender/woman:30", "--concept", "gender/man:30"]);
    assert!((31..=60).contains(&both), "{both}");
}

#[test]
fn conditions_change_the_text_as_asked() {
    let cluster = cluster();
    let say = |args: &[&str]| texts(&generate(&cluster, &[&["--seed", "3", "--num", "8"], args].concat()));
    let plain = say(&[]);
    let forced = say(&["--concept", "gender/woman", "--k", "50"]);
    assert_ne!(plain, forced);
    for flags in [["--rank", "bottom"], ["--rank", "random"], ["--value", "zero"], ["--value", "p90"], ["--value", "5"]]
    {
        assert_ne!(forced, say(&[&["--concept", "gender/woman", "--k", "50"], &flags[..]].concat()), "{flags:?}");
    }
    // A last condition on the same units wins: the first is as if it were not there.
    let twice = ["--concept", "gender/man:4608", "--concept", "gender/woman:4608"];
    assert_eq!(say(&twice), say(&["--concept", "gender/woman:4608"]));
}

#[test]
fn a_stop_text_ends_the_text_before_it() {
    let cluster = cluster();
    let whole = generate(&cluster, &["--seed", "4"]).remove(0);
    let text = whole["text"].as_str().unwrap();
    let middle: String = text.chars().skip(text.chars().count() / 2).take(3).collect();
    let stopped = generate(&cluster, &["--seed", "4", "--stop", "never written", "--stop", &middle]).remove(0);
    assert_eq!(stopped["text"], text[..text.find(&middle).unwrap()]);
    assert_eq!((&stopped["finish_reason"], &whole["finish_reason"]), (&"stop".into(), &"length".into()));
    assert!(stopped["generated_tokens"].as_u64() < whole["generated_tokens"].as_u64());
}

#[test]
fn tokens_come_with_what_was_asked_for() {
    let cluster = cluster();
    let asked = ["--seed", "4", "--observe", "gender/woman:20", "--observe", "gender/man", "--logprobs", "2"];
    let plain = generate(&cluster, &asked).remove(0);
    let tokens = plain["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 12);
    let pieces: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(plain["text"], pieces, "{plain}");
    for token in tokens {
        let top: Vec<f64> =
            token["top"].as_array().unwrap().iter().map(|one| one["logprob"].as_f64().unwrap()).collect();
        assert!(top.len() == 2 && top[0] >= top[1] && top[0] < 0.0, "{token}");
        assert!(token["logprob"].as_f64().unwrap() <= top[0], "{token}");
    }
    assert_eq!(plain["text"], texts(&generate(&cluster, &["--seed", "4"]))[0], "looking changes nothing");
    // Forced to their mean, all experts that are looked at respond like the positives; the last row was forced, too.
    let forced = generate(&cluster, &[&asked[..], &["--concept", "gender/woman:20"]].concat()).remove(0);
    for token in forced["tokens"].as_array().unwrap() {
        let strength = |place: usize| token["observed"][place]["strength"].as_f64().unwrap();
        assert!((strength(0) - 1.0).abs() < 1e-5 && token["observed"][0]["concept"] == "gender/woman", "{token}");
        assert_ne!(strength(1), 1.0);
    }
}

#[test]
fn units_positions_and_ranks_are_chosen_freely() {
    let cluster = cluster();
    let sample = |args: &[&str]| generate(&cluster, &[&["--seed", "5"], args].concat()).remove(0);
    let count = |sample: &Value, name: &str| sample[name].as_u64().unwrap();
    let first = "transformer.h.0.mlp.c_fc[3]=2.5";
    let listed = sample(&["--unit", first, "--unit", "17=scale:2", "--positions", "1..4", "--concept", "gender/man:5"]);
    assert_eq!((count(&listed, "forced_units"), count(&listed, "forced_positions")), (7, 3));
    assert_eq!(sample(&["--unit", "17=scale:1"])["text"], sample(&[])["text"], "times one changes nothing");
    // What follows in the ranking is something else, and twice as many are both together.
    let next = sample(&["--concept", "gender/man:20", "--rank", "next"]);
    assert_eq!(count(&next, "forced_units"), 20);
    assert_ne!(next["text"], sample(&["--concept", "gender/man:20"])["text"]);
    for (args, said) in [
        (["--unit", "99999=zero"], "no unit 99999"),
        (["--unit", "transformer.h.9.mlp.c_fc[3]=zero"], "transformer.h.9.mlp.c_fc"),
        (["--unit", "17=mean"], "listed unit"),
        (["--positions", "4..4"], "FROM..TO"),
        (["--observe", "gender/nobody"], "gender/nobody"),
    ] {
        let ask = ["generate", "--model", "m", "--prompt", "x"];
        let said_so = cluster.lode(&[&ask[..], &args].concat()).refused();
        assert!(said_so.contains(said), "{args:?}: {said_so}");
    }
}

/// The same seed with nothing forced and with the condition, side by side: each is what it is by itself.
#[test]
fn a_comparison_has_both() {
    let cluster = cluster();
    let condition = ["--seed", "3", "--concept", "gender/woman", "--k", "40"];
    let both = generate(&cluster, &[&condition[..], &["--compare"]].concat());
    assert_eq!(both.iter().map(|one| one["condition"].as_str().unwrap()).collect::<Vec<_>>(), ["without", "with"]);
    assert_eq!(texts(&both[..1]), texts(&generate(&cluster, &condition[..2])));
    assert_eq!(texts(&both[1..]), texts(&generate(&cluster, &condition)));
    assert_ne!(both[0]["text"], both[1]["text"]);
    assert_eq!((&both[0]["forced_units"], &both[1]["forced_units"]), (&Value::from(0), &Value::from(40)));
}

/// A conversation is read line by line; a seed gives the same reply again.
#[test]
fn a_chat_reads_lines() {
    let cluster = cluster();
    let talk = |lines: &str| -> (String, String) {
        let mut chat = Command::new(binary("lode"))
            .args(["--coordinator", &cluster.url(), "chat", "--model", "m", "--concept", "gender/woman:40"])
            .args(["--seed", "5", "--max-new-tokens", "8"])
            .env_remove("LODE_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        chat.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let ended = chat.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap())
    };
    let (replies, said) = talk("Yesterday\n/help\n/quit\nnobody hears this\n");
    assert!(said.contains("/plain"), "{said}");
    assert!(!replies.trim().is_empty());
    assert_eq!(talk("Yesterday\n").0, replies, "the end of what is said ends it, too");
    assert_ne!(talk("/plain\nYesterday\n").0, replies, "nothing is forced any more");
}

/// The load generator asks for what it was told to, closed loop or open, and its report is the same on stdout and in the file.
#[test]
fn a_load_is_measured() {
    let cluster = cluster();
    let out = cluster.folder().join("report.json").display().to_string();
    for load in [["--concurrency", "4"], ["--rate", "100"]] {
        let ask = ["--format", "json", "bench", "serve", "--model", "m", "--requests", "12", "--warm-up", "2"];
        let more = ["--max-new-tokens", "8", "--num", "2", "--conditions", "6", "--k", "20", "--out", &out];
        let said = cluster.lode(&[&ask[..], &more, &load].concat()).ok();
        let report: Value = serde_json::from_str(&said).unwrap();
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!(report, kept);
        assert_eq!((&report["requests"], &report["failed"], &report["conditions"]), (&12.into(), &0.into(), &6.into()));
        let tokens = report["tokens"].as_u64().unwrap();
        assert!((24..=12 * 2 * 8).contains(&tokens), "{tokens}");
        for latency in report["latencies"].as_array().unwrap() {
            let at = |name: &str| latency[name].as_f64().unwrap();
            assert!(0.0 <= at("p50_ms") && at("p50_ms") <= at("p95_ms") && at("p95_ms") <= at("p99_ms"), "{latency}");
        }
        assert_eq!(report["latencies"][0]["count"], 12, "a request has one first token: {report}");
    }
}
