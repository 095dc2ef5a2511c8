//! The claim of the method, on the bundled model: a concept's experts change what a text is about, and it stays fluent.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use lode_demo::conditioned::{self, Demonstration};
use lode_tests::{demo_model, lode};

#[test]
fn forcing_makes_topics_visible_in_fluent_texts() {
    let few = ["--k", "40", "--k", "70", "--samples", "10", "--show", "10"];
    let output = lode(&[&["demo", "--all", "--format", "json"], &few[..]].concat()).ok();
    let written = Demonstration::parse(&output).unwrap();
    let measured = conditioned::measure(&demo_model(), &written).unwrap();
    assert_eq!(measured.concepts, 35);
    let plain = measured.by_k[&0];
    assert!(plain.share < 0.1, "{:?}", measured.by_k);
    assert!(measured.visible_and_fluent >= 28, "{} of 35: {:?}", measured.visible_and_fluent, measured.by_k);
}
