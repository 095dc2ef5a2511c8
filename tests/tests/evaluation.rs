//! `lode score`, `lode eval` and `lode report` through a real cluster: what they say is what the model says, runs that were
//! broken off go on, and the same seed gives the same bytes.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::path::Path;

use lode_tests::{Cluster, demo_concepts, demo_model, few_concepts, repository};
use serde_json::Value;

/// A cluster with `gender/woman`, `gender/man`, and two more concepts that are cut short.
fn cluster(workers: usize) -> (Cluster, Vec<String>) {
    let cluster = Cluster::start(workers, &demo_model());
    let few = cluster.folder().join("few");
    let ids = few_concepts(&few, 4, 40);
    let mut files: Vec<String> =
        std::fs::read_dir(&few).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
    files.retain(|file| !file.contains("gender"));
    files
        .extend(["woman", "man"].map(|name| demo_concepts().join(format!("gender/{name}.json")).display().to_string()));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    cluster.lode(&[&["mine", "--model", "m"][..], &files].concat()).ok();
    (cluster, ids.into_iter().filter(|id| !id.starts_with("gender")).take(2).collect())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Column `name` of every line of a CSV.
fn column(csv: &str, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let place = reader.headers().unwrap().iter().position(|header| header == name).unwrap();
    reader.records().map(|record| record.unwrap()[place].to_owned()).collect()
}

#[test]
fn probabilities_are_those_of_the_next_token() {
    let (cluster, _) = cluster(1);
    let score = |flags: &[&str], continuations: &[&str]| -> Vec<f64> {
        let ask = ["--format", "json", "score", "--model", "m", "--prompt", "The nurse said that"];
        let given = continuations.iter().flat_map(|one| ["--continuation", one]);
        let said = json(&cluster.lode(&[&ask[..], flags, &given.collect::<Vec<_>>()].concat()).ok());
        let of = |row: &Value| row["log_probability"].as_f64().unwrap();
        said.as_array().unwrap().iter().map(of).collect()
    };
    let plain = score(&[], &[" she", " he", " she could", " they"]);
    let (she, he) = (plain[0].exp(), plain[1].exp());
    assert!(she + he > 0.9 && she + he <= 1.0 + 1e-6, "the grammar goes on with a pronoun: {she} {he}");
    assert!(plain[2] < plain[0], "a longer continuation is less probable");
    assert_eq!(plain[..1], score(&[], &[" she"]), "the same bits alone");
    // What comes next follows greedily: the most probable word is the one that is drawn.
    let ask = ["--format", "json", "generate", "--model", "m", "--prompt", "The nurse said that", "--temperature", "0"];
    let drawn = json(&cluster.lode(&[&ask[..], &["--max-new-tokens", "1"]].concat()).ok());
    assert_eq!(drawn[0]["text"].as_str().unwrap(), if she > he { " she" } else { " he" });
    let forced = score(&["--concept", "gender/man:60"], &[" she", " he"]);
    assert!(forced[1] - forced[0] > plain[1] - plain[0], "do(man) makes he more probable: {plain:?} {forced:?}");

    let refused = |args: &[&str], said: &str| {
        let output = cluster.lode(&[&["score", "--model", "m"][..], args].concat());
        assert!(!output.status.success() && output.stderr.contains(said), "{said}: {}", output.stderr);
    };
    refused(&["--prompt", "x", "--continuation", ""], "no token of its own");
    refused(&["--prompt", "x", "--continuation", &" word".repeat(300)], "context allows 128");
    refused(&["--prompt", "x", "--continuation", " a", "--concept", "no/such"], "no/such");
    refused(&["--prompt", "x", "--continuation", " a", "--concept", "gender/man:4609"], "4608 units");
}

#[test]
fn a_sweep_goes_on_where_it_was_and_gives_the_same_bytes() {
    let (cluster, ids) = cluster(2);
    let sweep = |out: &Path, more: &[&str]| {
        let out = out.display().to_string();
        let ask = ["eval", "sweep", "--model", "m", "--concept", &ids[0], &ids[1], "--k", "5,40", "--samples", "6"];
        let flags = ["--prompt", "Yesterday", "--prompt", "We", "--max-new-tokens", "8", "--show", "6", "--out", &out];
        cluster.lode(&[&ask[..], &flags, more].concat())
    };
    let (first, second) = (cluster.folder().join("first"), cluster.folder().join("second"));
    sweep(&first, &[]).ok();
    let csv = read(&first, "sweep.csv");
    // Of each of two concepts: nothing forced, and do and four controls at two k.
    assert_eq!(column(&csv, "concept").len(), 2 * (1 + 5 * 2), "{csv}");
    let forced = column(&csv, "forced");
    assert_eq!(forced[..3], ["nothing", "do", "do"]);
    for value in column(&csv, "presence").iter().chain(&column(&csv, "distinct_2")) {
        assert!((0.0..=1.0).contains(&value.parse::<f64>().unwrap()), "{value}");
    }
    assert!(column(&csv, "perplexity").iter().all(|value| value.parse::<f64>().unwrap() > 1.0));
    // Another concept's do(c,k) are that concept's own texts.
    let rows: Vec<(String, String, String)> = {
        let (concepts, ks, perplexities) = (column(&csv, "concept"), column(&csv, "k"), column(&csv, "perplexity"));
        let keys = concepts.into_iter().zip(forced).zip(ks);
        keys.zip(perplexities)
            .map(|(((concept, forced), k), value)| (format!("{concept} {forced}"), k, value))
            .collect()
    };
    let of = |name: String| rows.iter().filter(|row| row.0 == name).map(|row| &row.2).collect::<Vec<_>>();
    assert_eq!(of(format!("{} other", ids[0])), of(format!("{} do", ids[1])));

    // Broken off in the middle of a line, then again with nothing left to do.
    let log = std::fs::read(first.join("results.log")).unwrap();
    let whole = read(&first, "sweep.html");
    std::fs::write(first.join("results.log"), &log[..log.len() / 2]).unwrap();
    let again = sweep(&first, &[]);
    assert!(again.stderr.contains("damaged") && again.stderr.contains("from before"), "{}", again.stderr);
    again.ok();
    assert_eq!((read(&first, "sweep.csv"), read(&first, "sweep.html")), (csv.clone(), whole));
    let once_more = sweep(&first, &[]);
    assert!(once_more.stderr.contains("17 of 17 are there from before"), "{}", once_more.stderr);
    sweep(&second, &["--parallel", "3"]).ok();
    assert_eq!((read(&second, "sweep.csv"), read(&second, "sweep.json")), (csv, read(&first, "sweep.json")));

    let html = read(&first, "sweep.html");
    for word in [&ids[0], "Self-BLEU", "model hash", "<mark>", "<svg", "seed 1", "--max-new-tokens 8"] {
        assert!(html.contains(word), "{word}");
    }
    let refused = |more: &[&str], said: &str| {
        let output = sweep(&cluster.folder().join("none"), more);
        assert!(!output.status.success() && output.stderr.contains(said), "{said}: {}", output.stderr);
    };
    refused(&["--concept", "no/such"], "no/such");
    refused(&["--k", "9999"], "--k 9999: the model has 4608 units");
    refused(&["--judge", "nobody"], "does not know model `nobody`");
}

#[test]
fn parity_is_found_on_a_grid_and_by_bisection() {
    let (cluster, _) = cluster(1);
    let contexts = cluster.folder().join("contexts.json");
    let text =
        r#"{"templates": ["The {} said that", "The {} thought that"], "occupations": ["nurse", "warrior", "miner"]}"#;
    std::fs::write(&contexts, text).unwrap();
    let contexts = contexts.display().to_string();
    let parity = |out: &str, more: &[&str]| {
        let out = cluster.folder().join(out);
        let folder = out.display().to_string();
        let ask =
            ["eval", "parity", "--model", "m", "--concepts", "gender/woman", "gender/man", "--contexts", &contexts];
        cluster.lode(&[&ask[..], &["--out", &folder], more].concat()).ok();
        read(&out, "parity.csv")
    };
    let grid = parity("grid", &["--k", "20,40,80,160", "--samples", "4", "--max-new-tokens", "3"]);
    let opposed = |csv: &str| -> Vec<(String, Option<f64>)> {
        let columns = ["context", "opposes", "k_at_parity"].map(|name| column(csv, name));
        let [texts, opposes, ks] = columns;
        let rows = texts.into_iter().zip(opposes).zip(ks);
        rows.filter(|((_, opposes), _)| opposes == "yes").map(|((text, _), k)| (text, k.parse().ok())).collect()
    };
    let found = opposed(&grid);
    assert_eq!(found.len(), 6, "each context has one concept that pushes against its bias: {grid}");
    assert!(found.iter().filter(|(_, k)| k.is_some()).count() >= 3, "{found:?}");
    let searched = opposed(&parity("bisect", &["--k", "160", "--samples", "0", "--bisect"]));
    assert_eq!(searched.len(), 6);
    assert!(searched.iter().any(|(_, k)| k.is_some()), "{searched:?}");
    // The curve need not be monotone, but where both found the first change they agree within the grid's gap.
    let near =
        found.iter().zip(&searched).filter(|((_, a), (_, b))| a.zip(*b).is_some_and(|(a, b)| (a - b).abs() < 40.0));
    assert!(near.count() >= 2, "{found:?} {searched:?}");
    let html = read(&cluster.folder().join("grid"), "parity.html");
    assert!(html.contains("The nurse said that") && html.contains("parity at k"), "the examples are shown");
}

/// The files of `gender/woman` and `gender/man`, `count` sentences of each class.
fn cut_sentences(folder: &Path, count: usize) -> Vec<String> {
    std::fs::create_dir_all(folder).unwrap();
    let cut = |name: &str| {
        let mut concept = json(&read(&demo_concepts().join("gender"), &format!("{name}.json")));
        for class in ["positive", "negative"] {
            concept["sentences"][class].as_array_mut().unwrap().truncate(count);
        }
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, concept.to_string()).unwrap();
        path.display().to_string()
    };
    ["woman", "man"].map(cut).to_vec()
}

#[test]
fn methods_stand_beside_each_other() {
    let (cluster, _) = cluster(1);
    let contexts = cluster.folder().join("contexts.txt");
    std::fs::write(&contexts, "The nurse said that\nThe miner said that\n").unwrap();
    let (contexts, sentences) = (contexts.display().to_string(), cut_sentences(&cluster.folder().join("cut"), 40));
    let eval = |out: &str, flags: &[&str]| {
        let folder = cluster.folder().join(out).display().to_string();
        let more =
            ["--out", &folder, "--sentences", &sentences[0], "--sentences", &sentences[1], "--max-new-tokens", "3"];
        cluster.lode(&[&["--format", "json", "eval"][..], flags, &more].concat())
    };
    let ask = ["parity", "--model", "m", "--concepts", "gender/woman", "gender/man", "--contexts", &contexts];
    let asked =
        [&ask[..], &["--k", "40,160", "--samples", "3", "--lambda", "0.25,12", "--percent", "99.5,800"]].concat();
    let parity = |out: &str| eval(out, &[&asked[..], &["--methods", "prompt,fudge,steer"]].concat());
    let first = parity("methods").ok();
    let said = json(&first);
    let methods = said["methods"].as_array().unwrap();
    let names: Vec<&str> = methods.iter().map(|method| method["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["do", "prompt", "fudge", "steer"]);
    let reached = |place: usize| methods[place]["reached"].as_f64().unwrap();
    assert!(reached(0) > 0.4 && reached(2) > 0.4 && reached(3) > 0.4, "each finds parity somewhere: {methods:#?}");
    assert_eq!(said["contexts_by_method"].as_array().unwrap().len(), 4 * 2);
    let html = read(&cluster.folder().join("methods"), "parity.html");
    for word in ["Beside other methods", "Perplexity at parity", "FUDGE: p(she, her)", "held-out sentences it tells"] {
        assert!(html.contains(word), "{word}");
    }
    // What is learned is the same again, and so are all keys and all bytes.
    let again = parity("methods");
    assert!(again.stderr.contains("10 of 10 are there from before") && again.stdout == first, "{}", again.stderr);
    assert_eq!(json(&parity("anew").ok())["methods"], said["methods"]);
    let log = read(&cluster.folder().join("methods"), "results.log");
    assert!(
        log.contains(r#"\"lambda\":0.25"#) && log.contains(r#"\"lambda\":12,"#) && log.contains(r#"\"percent\":99.5"#)
    );
    assert!(html.contains(">0.25</text>") && html.contains(">99.5</text>"), "the figures' grids");

    // Each method's own parity, within a hundredth of lambda: it must lie where the grid says that the sign changes.
    let search = ["--samples", "0", "--methods", "fudge", "--k", "160", "--lambda", "12", "--bisect"];
    let searched = json(&eval("searched", &[&ask[..], &search].concat()).ok());
    let of = |said: &Value| -> Vec<Option<f64>> {
        let rows = said["contexts_by_method"].as_array().unwrap().iter().filter(|row| row["method"] == "fudge");
        rows.map(|row| row["strength_at_parity"].as_f64()).collect()
    };
    let (found, grid) = (of(&searched), of(&said));
    assert!(found.len() == 2 && found.iter().any(Option::is_some), "{searched:#}");
    for (found, grid) in found.iter().zip(grid) {
        assert_eq!(found.map(|lambda| lambda <= 0.25), grid.map(|lambda| lambda <= 0.25), "{searched:#} {said:#}");
    }

    let ask = ["sweep", "--model", "m", "--concept", "gender/woman", "gender/man", "--k", "40", "--samples", "4"];
    let flags = ["--prompt", "Yesterday", "--controls", "none", "--methods", "fudge", "--lambda", "8"];
    let swept = json(&eval("sweep", &[&ask[..], &flags].concat()).ok());
    let forced: Vec<&str> =
        swept["sweep"].as_array().unwrap().iter().map(|row| row["forced"].as_str().unwrap()).collect();
    assert_eq!(forced, ["nothing", "do", "fudge", "nothing", "do", "fudge"]);
    let judge = &swept["classifiers"][0];
    assert!(judge["held_out"] == 16 && judge["accuracy"].as_f64().unwrap() > 0.5, "{judge}");
    let plan = json(&eval("plan", &[&asked[..], &["--plan", "2"]].concat()).ok());
    assert_eq!((&plan[0]["cells"], &plan[1]["cells"], &plan[1]["timed"]), (&5.into(), &10.into(), &2.into()), "{plan}");

    let refused = |flags: &[&str], said: &str| {
        let output = eval("none", flags);
        assert!(!output.status.success() && output.stderr.contains(said), "{said}: {}", output.stderr);
    };
    refused(
        &[&ask[..], &["--prompt", "x", "--methods", "steer", "--block", "9"]].concat(),
        "the model has blocks 0 to 3",
    );
    let none = ["sweep", "--model", "m", "--concept", "no/such", "--prompt", "x", "--methods", "fudge"];
    refused(&none, "no/such");
}

/// Moving the residual stream along a concept's vectors makes its words more probable, along random ones as often less.
#[test]
fn tcav_tells_a_concept_from_random_sets() {
    let cluster = Cluster::start(1, &demo_model());
    let prompts = cluster.folder().join("prompts.txt");
    let lines =
        ["We talked about the", "They saw the", "My friend said that the", "On Monday we liked the", "I think of the"];
    std::fs::write(&prompts, lines.join("\n")).unwrap();
    let prompts = prompts.display().to_string();
    let tcav = |out: &str, more: &[&str]| {
        let folder = cluster.folder().join(out).display().to_string();
        let ask =
            ["--format", "json", "eval", "tcav", "--model", "m", "--concept", "topic/football", "--layers", "3,1"];
        cluster.lode(&[&ask[..], &["--random-sets", "3", "--prompts", &prompts, "--out", &folder], more].concat())
    };
    let first = tcav("first", &[]).ok();
    let said = json(&first);
    let rows = said["tcav"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["layer"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 3], "nothing was mined");
    for row in rows {
        let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"));
        assert!(number("accuracy") > 0.9 && (0.25..0.75).contains(&number("random_accuracy")), "{row}");
        assert!(number("score") > 0.8 && number("score") > number("random_score"), "{row}");
        assert!(number("sensitivity") > 0.1 && number("sensitivity") > number("random_sensitivity"), "{row}");
        assert!(number("finer_step_same_sign") > 0.9 && number("finer_step_change") < 0.1, "{row}");
        assert!(
            number("p_corrected") == (2.0 * number("p")).min(1.0) && number("sensitivity_p_corrected") < 0.05,
            "{row}"
        );
        assert_eq!(number("lost"), 0.0);
    }
    assert_eq!(said["runs"].as_array().unwrap().len(), 2 * 2 * 3);
    assert!(said["words"][0]["words"].as_str().unwrap().contains("goal"), "{}", said["words"]);
    let html = read(&cluster.folder().join("first"), "tcav.html");
    for word in ["topic/football: TCAV score", "after block", "Bonferroni", "model hash", "<svg", "goal"] {
        assert!(html.contains(word), "{word}");
    }
    // Broken off, it goes on; with nothing left to do, and anew, the bytes are the same.
    let log = cluster.folder().join("first/results.log");
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() / 2 + 9]).unwrap();
    let again = tcav("first", &[]);
    assert!(again.stderr.contains("damaged") && again.stderr.contains("from before"), "{}", again.stderr);
    assert_eq!((again.ok(), read(&cluster.folder().join("first"), "tcav.html")), (first.clone(), html));
    let once_more = tcav("first", &[]);
    assert!(once_more.stderr.contains("14 of 14 are there from before"), "{}", once_more.stderr);
    assert_eq!(tcav("anew", &["--parallel", "2"]).ok(), first);
    let plan = json(&tcav("plan", &["--plan", "3"]).ok());
    assert_eq!((&plan[0]["cells"], &plan[0]["timed"]), (&14.into(), &3.into()), "{plan}");

    let refused = |more: &[&str], said: &str| {
        let output = tcav("none", more);
        assert!(!output.status.success() && output.stderr.contains(said), "{said}: {}", output.stderr);
    };
    refused(&["--layers", "9"], "--layers 9: the model has blocks 0 to 3");
    refused(&["--concept", "no/such"], "sentences of no/such");
    let few = cut_sentences(&cluster.folder().join("cut"), 12);
    refused(&["--concept", "gender/woman", "--sentences", &few[0], &few[1]], "there are 12 and 12");
}

/// A folder as a user brings it: GPT-2's own layout and tokenizer, random weights.
#[test]
fn a_gpt_2_folder_runs_the_same_commands() {
    let model = repository().join("tests/golden/cases/gpt2/model");
    let cluster = Cluster::start(1, &model);
    let files = cut_sentences(&cluster.folder().join("cut"), 20);
    cluster.lode(&["mine", "--model", "m", &files[0], &files[1]]).ok();
    let eval = |out: &str, flags: &[&str]| {
        let out = cluster.folder().join(out);
        let more = ["--model", "m", "--out", &out.display().to_string()];
        cluster.lode(&[flags, &more].concat()).ok();
        out
    };
    let contexts = cluster.folder().join("contexts.txt");
    std::fs::write(&contexts, "The nurse said that\n").unwrap();
    let learn = [
        "--methods",
        "prompt,fudge,steer",
        "--sentences",
        &files[0],
        "--sentences",
        &files[1],
        "--max-new-tokens",
        "4",
    ];
    let ask = ["eval", "parity", "--concepts", "gender/woman", "gender/man", "--samples", "2", "--k", "4"];
    let parity = eval("parity", &[&ask[..], &["--contexts", &contexts.display().to_string()], &learn].concat());
    assert_eq!(column(&read(&parity, "parity.csv"), "context").len(), 2);
    let ask =
        ["eval", "sweep", "--concept", "gender/woman", "gender/man", "--samples", "2", "--k", "4", "--prompt", "I"];
    let sweep = eval("sweep", &[&ask[..], &learn].concat());
    assert!(column(&read(&sweep, "sweep.csv"), "perplexity").iter().all(|one| one.parse::<f64>().unwrap() > 1.0));
    let ask = ["eval", "tcav", "--concept", "gender/woman", "gender/man", "--random-sets", "2", "--prompt", "I"];
    let tcav = eval("tcav", &[&ask[..], &["--sentences", &files[0], &files[1]]].concat());
    assert!(
        column(&read(&tcav, "tcav.csv"), "score").iter().all(|one| (0.0..=1.0).contains(&one.parse::<f64>().unwrap()))
    );
    let report = eval("report", &["report", "--concept", "gender/woman", "gender/man", "--top", "8"]);
    assert!(read(&report, "report.html").contains("attn.c_attn"));
}

#[test]
fn a_report_needs_the_index_only() {
    let (cluster, ids) = cluster(1);
    let out = cluster.folder().join("report");
    let folder = out.display().to_string();
    let ask = ["report", "--model", "m", "--concept", &ids[0], "gender/woman", "--top", "30", "--out", &folder];
    cluster.lode(&ask).ok();
    let (csv, html) = (read(&out, "report.csv"), read(&out, "report.html"));
    let experts: u64 = column(&csv, "experts").iter().map(|count| count.parse::<u64>().unwrap()).sum();
    assert_eq!(experts, 60, "30 of each concept");
    for word in ["Jaccard", "block 3", "mlp.c_fc", "<rect", "gender/woman"] {
        assert!(html.contains(word), "{word}");
    }
    let overlap = &json(&read(&out, "report.json"))["overlap"][0];
    assert!(overlap["correlation"].as_f64().unwrap().abs() <= 1.0, "{overlap}");
}
