//! What a cluster answers about what it has mined.
#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use lode_tests::{Cluster, demo_concepts, demo_model};
use serde_json::Value;

#[test]
fn queries_agree_with_each_other() {
    let cluster = Cluster::start(1, &demo_model());
    let names = ["gender/woman", "gender/man", "sense/bank-river", "sense/bank-money"];
    let files: Vec<String> =
        names.iter().map(|name| demo_concepts().join(format!("{name}.json")).display().to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    cluster.lode(&[&["mine", "--model", "m"], &files[..]].concat()).ok();
    let ask = |args: &[&str]| -> Value {
        serde_json::from_str(&cluster.lode(&[&["--format", "json"], args].concat()).ok()).unwrap()
    };
    let rows = |value: &Value| value.as_array().unwrap().clone();

    let top = rows(&ask(&["units", "top", "--model", "m", "--concept", "gender/woman", "--top", "20"]));
    let ap = |row: &Value| row["ap"].as_f64().unwrap();
    assert_eq!(top.len(), 20);
    assert!(top.windows(2).all(|pair| ap(&pair[0]) >= ap(&pair[1])));
    let bottom = rows(&ask(&["units", "top", "--model", "m", "--concept", "gender/woman", "--top", "1", "--bottom"]));
    assert!(ap(&bottom[0]) < ap(&top[19]));

    // The best unit of a concept stands in that concept with the same AP.
    let best = top[0]["unit"].as_str().unwrap();
    let shown = rows(&ask(&["units", "show", "--model", "m", best]));
    assert_eq!(shown.len(), names.len());
    let own = shown.iter().find(|row| row["concept"] == "gender/woman").unwrap();
    assert_eq!(ap(own), ap(&top[0]));

    let layers = ask(&["units", "layers", "--model", "m", "--concept", "gender/woman", "--top", "50"]);
    let experts: u64 = rows(&layers["layers"]).iter().map(|row| row["experts"].as_u64().unwrap()).sum();
    assert_eq!(experts, 50);

    let same = ask(&["overlap", "--model", "m", "gender/woman", "gender/woman", "--top", "30"]);
    assert_eq!((same["shared_experts"].as_u64(), same["jaccard"].as_f64()), (Some(30), Some(1.0)));
    let other = ask(&["overlap", "--model", "m", "gender/woman", "gender/man", "--top", "30"]);
    let nearest = rows(&ask(&["nearest", "--model", "m", "gender/woman", "--top", "30"]));
    assert_eq!(nearest.len(), names.len() - 1);
    let man = nearest.iter().find(|row| row["concept"] == "gender/man").unwrap();
    assert_eq!(man["shared_experts"], other["shared_experts"]);
    let jaccard = |row: &Value| row["jaccard"].as_f64().unwrap();
    assert!(nearest.windows(2).all(|pair| jaccard(&pair[0]) >= jaccard(&pair[1])));
}
