//! Criteria beside AP: mined, kept, asked for and written with.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use lode_domain::{
    closer::{Resamples, fit},
    criterion::{Criterion, Measures},
    expertise::Column,
    holdout::{Classes, Holdout},
    summary::{PartialBlock, Scheme},
};
use lode_tests::{Cluster, Expected, demo_concepts, demo_model, lode, repository};
use safetensors::{SafeTensors, tensor::TensorView};
use serde::Deserialize;
use serde_json::{Value, json};

/// A row of `tests/golden/criteria.py`.
#[derive(Deserialize)]
struct Row {
    auroc: f64,
    cohens_d: f64,
    train_ap: f64,
    held_out_ap: f64,
}

/// Responses to the sentences of a concept, the positives first, and the texts.
struct Golden {
    /// `[unit][sentence]`
    units: Vec<Vec<f32>>,
    texts: Vec<String>,
    positives: usize,
}

fn expected(name: &str) -> std::path::PathBuf {
    repository().join("tests/golden/cases/llama/expected").join(name)
}

fn golden() -> Golden {
    let bytes = std::fs::read(expected("topic__baking.responses.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let of = |view: &TensorView<'_>| -> Vec<f32> {
        view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    let responses = file.tensor("responses").unwrap();
    let (sentences, units) = (responses.shape()[0], responses.shape()[1]);
    let values = of(&responses);
    let unit = |unit: usize| (0..sentences).map(|sentence| values[sentence * units + unit]).collect();
    let concept = std::fs::read_to_string(expected("../concepts/topic/baking.json")).unwrap();
    let concept: Value = serde_json::from_str(&concept).unwrap();
    let class = |name: &str| -> Vec<String> {
        let texts = concept["sentences"][name].as_array().unwrap().iter();
        texts.map(|text| text.as_str().unwrap().to_owned()).filter(|text| !text.is_empty()).collect()
    };
    // Two are too long for the model: `tests/golden/make.py` puts them there.
    let (mut positive, mut negative) = (class("positive"), class("negative"));
    positive.remove(20);
    negative.pop();
    let positives = positive.len();
    assert_eq!(positives + negative.len(), sentences);
    Golden { units: (0..units).map(unit).collect(), texts: [positive, negative].concat(), positives }
}

impl Golden {
    /// One number a text, so that copies of a sentence are one sentence, as in a job.
    fn classes(&self, holdout: Option<Holdout>) -> Classes {
        let number = |text: &String| self.texts.iter().position(|other| other == text).unwrap() as u32;
        let mut numbers: Vec<u32> = self.texts.iter().map(number).collect();
        let (positive, negative) = numbers.split_at_mut(self.positives);
        positive.sort_unstable();
        negative.sort_unstable();
        let whole = Classes::whole(positive.to_vec(), negative.to_vec());
        whole.split(holdout, |number| &self.texts[number as usize])
    }

    fn score(&self, measures: Measures) -> lode_domain::expertise::ExpertiseBlock {
        let numbers = (0..self.texts.len() as u32).collect();
        let block = PartialBlock::new(0, self.units.len() as u32, numbers, self.units.concat()).unwrap();
        let classes = self.classes(measures.holdout);
        block.finish(&Scheme::new(self.texts.len(), &[&classes], measures).unwrap()).unwrap().remove(0)
    }
}

#[test]
fn criteria_on_golden_responses_are_scikit_learns_and_numpys() {
    let golden = golden();
    let all = golden.score(Measures { criteria: Criterion::ALL.into_iter().collect(), ..Measures::default() });
    let held = golden.score(Measures { holdout: Holdout::new(250), ..Measures::default() });
    let mut rows = csv::Reader::from_path(expected("topic__baking.criteria.csv")).unwrap();
    let rows: Vec<Row> = rows.deserialize().map(Result::unwrap).collect();
    assert_eq!((rows.len(), all.len(), held.len()), (288, 288, 288));
    for (unit, row) in rows.iter().enumerate() {
        for (block, column, expected) in [
            (&all, Column::Auroc, row.auroc),
            (&all, Column::CohensD, row.cohens_d),
            (&held, Column::Ap, row.train_ap),
            (&held, Column::HeldOutAp, row.held_out_ap),
        ] {
            let found = f64::from(block.column(column)[unit]);
            // What is kept has 24 bits.
            assert!(
                (found - expected).abs() <= 6e-8 * (1.0 + expected.abs()),
                "{column} of {unit}: {found} {expected}"
            );
        }
    }
}

#[test]
fn the_closer_look_is_scikit_learns_and_numpys() {
    let golden = golden();
    let closer: Value =
        serde_json::from_str(&std::fs::read_to_string(expected("topic__baking.closer.json")).unwrap()).unwrap();
    let (weights, intercept) = fit(&golden.units, golden.positives);
    let expected = |name: &str| closer["l1"][name].as_f64().unwrap();
    let mut wanted = vec![0.0; weights.len()];
    for one in closer["l1"]["weights"].as_array().unwrap() {
        wanted[one["unit"].as_u64().unwrap() as usize] = one["weight"].as_f64().unwrap();
    }
    assert!(wanted.iter().filter(|weight| **weight != 0.0).count() > 10);
    assert!((intercept - expected("intercept")).abs() < 1e-6, "{intercept} {}", expected("intercept"));
    for (unit, (found, wanted)) in weights.iter().zip(&wanted).enumerate() {
        assert!((found - wanted).abs() < 1e-6, "unit {unit}: {found} {wanted}");
    }

    let shown = closer["intervals"].as_array().unwrap();
    assert_eq!(shown.len(), 5);
    let negatives = golden.texts.len() - golden.positives;
    let resamples = Resamples::new(golden.positives, negatives, closer["seed"].as_u64().unwrap());
    for one in shown {
        let (on, off) = golden.units[one["unit"].as_u64().unwrap() as usize].split_at(golden.positives);
        let (low, high) = resamples.interval(on.to_vec(), off.to_vec());
        for (found, end) in [(low, "low"), (high, "high")] {
            let wanted = one[end].as_f64().unwrap();
            assert!((found - wanted).abs() < 1e-12, "{one}: {found}");
        }
    }
}

/// The scores depend on responses and labels alone: whole or split, alone or with others, the exports are the same bytes.
#[test]
fn neither_workers_nor_splits_change_a_criterion() {
    let expected = Expected::of(3, 40);
    let mined = |workers: usize, split: &str| {
        let cluster = Cluster::start(workers, &demo_model());
        let files = expected.files();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let flags = ["mine", "--model", "m", "--criteria", "auroc,l1", "--intervals", "9", "--split", split];
        cluster.lode(&[&flags[..], &files].concat()).ok();
        expected.exports_of(&cluster)
    };
    let once = mined(1, "never");
    assert!(once == mined(2, "always"), "split over two workers");
    // What stands before them is what AP alone leaves.
    let cluster = Cluster::start(1, &demo_model());
    let job = expected.submit(&cluster, &[]);
    expected.check(&cluster, &job);
    for (deep, plain) in once.iter().zip(expected.exports_of(&cluster)) {
        assert!(deep.lines().next().unwrap().ends_with(",on_mean,auroc,cohens_d,l1,ap_low,ap_high"));
        let cut = |line: &str| line.rsplitn(6, ',').nth(5).unwrap().to_owned();
        let filled = |line: &&str| !line.ends_with(',');
        assert_eq!(deep.lines().filter(filled).count(), 1 + 9, "nine units have intervals");
        assert_eq!(deep.lines().map(cut).collect::<Vec<_>>(), plain.lines().collect::<Vec<_>>());
    }
}

#[test]
fn a_criterion_ranks_in_questions_and_in_generation() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let model = format!("m={}", demo_model().display());
    let at = ["--embedded", "--data-dir", &data, "--format", "json"];
    let file = |name: &str| demo_concepts().join(name).display().to_string();
    let mine = |flags: &[&str], name: &str| {
        lode(&[&at[..], &["mine", "--model", &model], flags, &[&file(name)]].concat()).ok()
    };
    mine(&["--criteria", "ap,auroc,l1", "--intervals", "10", "--holdout", "0.2"], "topic/sea.json");
    mine(&[], "topic/music.json");
    let ask = |args: &[&str]| -> Value { serde_json::from_str(&lode(&[&at[..], args].concat()).ok()).unwrap() };
    let top = |concept: &str, flags: &[&str]| {
        let args = ["units", "top", "--model", "m", "--concept", concept, "--top", "30"];
        ask(&[&args[..], flags].concat()).as_array().unwrap().clone()
    };
    for (criterion, field) in [("ap", "ap"), ("auroc", "auroc"), ("cohens-d", "cohens_d"), ("l1", "l1")] {
        let number = |row: &Value| row[field].as_f64().unwrap();
        let best = top("topic/sea", &["--criterion", criterion]);
        assert!(best.windows(2).all(|pair| number(&pair[0]) >= number(&pair[1])), "{criterion}");
        let worst = top("topic/sea", &["--criterion", criterion, "--bottom"]);
        assert!(number(&worst[0]) < number(&best[29]), "{criterion}");
    }
    assert!(top("topic/music", &[])[0].get("auroc").is_none(), "what was not measured is not shown");
    let best = top("topic/sea", &[]);
    for (place, row) in best.iter().enumerate() {
        let [ap, low, high, held_out] = ["ap", "ap_low", "ap_high", "held_out_ap"].map(|name| row[name].as_f64());
        assert!(held_out.is_some_and(|ap| (0.0..=1.0).contains(&ap)), "{row}");
        if place < 10 {
            assert!(low.unwrap() <= ap.unwrap() && ap.unwrap() <= high.unwrap(), "{row}");
        } else {
            assert_eq!((low, high), (None, None), "{row}");
        }
    }
    let listed = ask(&["concepts", "--model", "m"]);
    let criteria: Vec<_> = listed.as_array().unwrap().iter().map(|row| row["criteria"].clone()).collect();
    assert_eq!(criteria, [json!(["ap"]), json!(["ap", "auroc", "cohens-d", "l1"])]);

    // Forcing the experts by another criterion is forcing other units.
    let generate = |flags: &[&str]| {
        let args = ["generate", "--model", &model, "--prompt", "Yesterday", "--seed", "3", "--k", "40"];
        lode(&[&at[..], &args, flags].concat())
    };
    let by_ap = generate(&["--concept", "topic/sea"]).ok();
    let by_d = generate(&["--concept", "topic/sea", "--criterion", "cohens-d"]).ok();
    assert_ne!(by_ap, by_d);

    generate(&["--concept", "topic/sea:1", "--criterion", "l1"]).ok();
    let refused = generate(&["--concept", "topic/sea:4000", "--criterion", "l1"]).refused();
    assert!(refused.contains("l1 gave only"), "{refused}");
    let refused = generate(&["--concept", "topic/music", "--criterion", "auroc"]).refused();
    assert!(refused.contains("`topic/music` was mined without auroc, with ap"), "{refused}");
    assert!(refused.contains("--criteria ap,auroc"), "{refused}");
    let args = ["units", "top", "--model", "m", "--concept", "topic/music", "--criterion", "cohens-d"];
    let refused = lode(&[&at[..], &args].concat()).refused();
    assert!(refused.contains("mined without cohens-d"), "{refused}");
    let refused = lode(&[&at[..], &["mine", "--model", &model, "--criteria", "f1", &file("topic/sea.json")]].concat());
    assert!(refused.refused().contains("`f1` is not one of ap, auroc, cohens-d, l1"));
}

#[test]
fn a_report_says_how_far_criteria_agree() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (data, out, model) = (at("data"), at("out"), format!("m={}", demo_model().display()));
    let embedded = ["--embedded", "--data-dir", &data, "--format", "json"];
    let file = demo_concepts().join("topic/sea.json").display().to_string();
    let flags = ["--criteria", "auroc,cohens-d", "--holdout", "0.2"];
    lode(&[&embedded[..], &["mine", "--model", &model, &file], &flags].concat()).ok();
    let ask = ["report", "--model", "m", "--concept", "topic/sea", "--top", "40", "--out", &out];
    let report: Value = serde_json::from_str(&lode(&[&embedded[..], &ask].concat()).ok()).unwrap();
    let pairs: Vec<(&str, &str)> = report["agreement"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["first"].as_str().unwrap(), row["second"].as_str().unwrap()))
        .collect();
    assert_eq!(pairs, [("ap", "auroc"), ("ap", "cohens-d"), ("auroc", "cohens-d")]);
    for row in report["agreement"].as_array().unwrap() {
        let (correlation, shared) = (row["rank_correlation"].as_f64().unwrap(), row["shared"].as_u64().unwrap());
        assert!(correlation > 0.5 && correlation < 1.0 && shared > 0 && shared <= 40, "{row}");
    }
    let held = &report["held_out"][0];
    assert!(held["mean_ap"].as_f64().unwrap() > 0.5 && held["mean_held_out_ap"].as_f64().unwrap() > 0.0, "{held}");
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("Whether criteria agree") && page.contains("held-out AP"));
}

#[test]
fn what_cannot_be_held_out_is_refused_by_class() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json").display().to_string();
    let text =
        r#"{"concept": "x", "group": "g", "sentences": {"positive": ["one", "two"], "negative": ["three", "three"]}}"#;
    std::fs::write(&file, text).unwrap();
    let data = folder.path().join("data").display().to_string();
    let model = format!("m={}", demo_model().display());
    let mine = |share: &str| {
        let args = ["--embedded", "--data-dir", &data, "mine", "--model", &model, &file, "--holdout", share];
        lode(&args).refused()
    };
    let refused = mine("0.5");
    assert!(refused.contains("its negative sentences are all the same, so none can be held out"), "{refused}");
    for share in ["0", "1", "-0.2", "half"] {
        let refused = mine(share);
        assert!(refused.contains("is not one of the shares from 0.001 to 0.999"), "{refused}");
    }
}
