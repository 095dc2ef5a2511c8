//! Times the questions to an index through gRPC: one real coordinator, one client, the loopback between them.
//!
//!     cargo run --release -p lode-index --example measure -- 1344 414720 DIR/index
//!     cargo run --release -p lode-tests --example queries -- DIR
//!
//! The first writes an index of synthetic concepts and times it without gRPC. To ask one that the system has not in its file cache,
//! drop that before the second: `for f in DIR/index/db DIR/index/derived/*; do dd if=$f iflag=nocache count=0; done`. The coordinator is
//! the program beside this one: build it first, `cargo build --release -p lode-coordinator`.

#![allow(clippy::print_stdout, reason = "it reports to its user")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a measurement that fails has no result")]

use std::{
    ffi::OsString,
    path::PathBuf,
    time::{Duration, Instant},
};

use lode_client::Client;
use lode_domain::{
    compare::Experts,
    concept::ConceptId,
    expertise::Recipe,
    query::{ConceptRef, TopQuery},
    record::ModelRecord,
    unit::UnitId,
};
use lode_proto::{Credentials, Fault};
use lode_tests::Program;

/// What is asked about.
struct Asked {
    client: Client,
    model: ModelRecord,
    concepts: Vec<ConceptId>,
}

impl Asked {
    fn concept(&self, random: &mut Random) -> ConceptRef {
        let concept = self.concepts[random.below(self.concepts.len())].clone();
        ConceptRef { model: self.model.name.clone(), concept, recipe: Recipe::default() }
    }

    async fn top(&self, random: &mut Random, query: &TopQuery) -> Result<(), Fault> {
        self.client.top(self.concept(random), query.clone()).await.map(drop)
    }

    async fn show(&self, random: &mut Random) -> Result<(), Fault> {
        let space = self.model.unit_space().expect("the index has checked it");
        let unit = space.name(UnitId(random.below(space.len()) as u32));
        self.client.show(&self.model.name, &unit, Recipe::default()).await.map(drop)
    }

    async fn overlap(&self, random: &mut Random, experts: Experts) -> Result<(), Fault> {
        let other = self.concept(random).concept;
        self.client.overlap(self.concept(random), other, experts).await.map(drop)
    }

    async fn nearest(&self, random: &mut Random, experts: Experts) -> Result<(), Fault> {
        self.client.nearest(self.concept(random), experts, 10).await.map(drop)
    }
}

#[tokio::main]
async fn main() {
    let data_dir: PathBuf = std::env::args().nth(1).expect("DIR").into();
    let logs = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut args =
        ["--rate-limit", "1000000", "--grpc", &address.to_string(), "--data-dir"].map(OsString::from).to_vec();
    args.push(data_dir.into());
    let mut coordinator = Program::start("lode-coordinator", logs.path(), args);
    coordinator.wait_for("serving");
    let client = Client::connect(&format!("http://{address}"), &Credentials::default()).await.unwrap();
    let model = client.status().await.unwrap().models.first().expect("it has a model").model.clone();
    let concepts: Vec<ConceptId> =
        client.concepts(&model.name).await.unwrap().into_iter().map(|indexed| indexed.concept).collect();
    println!("{} concepts, {} units, {} MB once open", concepts.len(), model.units(), coordinator.peak_memory() >> 20);
    let asked = Asked { client, model, concepts };
    let best = TopQuery { top: 50, ..TopQuery::default() };
    let in_layer = TopQuery { layers: Some("*.mlp.*".into()), ..best.clone() };
    let bottom = TopQuery { bottom: true, ..best.clone() };
    let (few, many) = (Experts::Top(50), Experts::Top(500));
    println!("| question | first time: p50 | p99 | again: p50 | p99 |\n|---|---|---|---|---|");
    times("`units show`", 1000, async |random| asked.show(random).await).await;
    times("`units top`", 1000, async |random| asked.top(random, &best).await).await;
    times("`units top --layer '*.mlp.*'`", 300, async |random| asked.top(random, &in_layer).await).await;
    times("`units top --bottom`", 300, async |random| asked.top(random, &bottom).await).await;
    times("`overlap`", 1000, async |random| asked.overlap(random, few).await).await;
    times("`overlap --top 500`", 300, async |random| asked.overlap(random, many).await).await;
    times("`nearest`", 100, async |random| asked.nearest(random, few).await).await;
    times("`nearest --top 500`", 100, async |random| asked.nearest(random, many).await).await;
    println!("coordinator's memory at most: {} MB", coordinator.peak_memory() >> 20);
}

/// A seeded sequence of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// Asks `count` questions one after the other, then the same again.
async fn times(what: &str, count: u32, mut ask: impl AsyncFnMut(&mut Random) -> Result<(), Fault>) {
    let mut cells = Vec::new();
    for _ in 0..2 {
        let (mut random, mut taken) = (Random(1), Vec::new());
        for _ in 0..count {
            let started = Instant::now();
            ask(&mut random).await.unwrap();
            taken.push(started.elapsed());
        }
        taken.sort();
        let at = |share: f64| -> Duration { taken[((taken.len() as f64 * share) as usize).min(taken.len() - 1)] };
        cells.extend([at(0.5), at(0.99)].map(|time| format!("{time:.2?}")));
    }
    println!("| {what} | {} |", cells.join(" | "));
}
