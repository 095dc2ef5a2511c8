//! The same by sampling, as the reference counts: which pronoun a continuation begins with, and how surprising it is.

use lode_eval::{perplexity::Surprise, pronoun::begins_with};
use serde::{Deserialize, Serialize};

use super::Parity;
use crate::cmd::eval::{
    cells::{Estimate, estimated, measured},
    method::{Method, TreatmentKey},
    store::Store,
    strength::Strength,
    writing::Writer,
};

/// Continuations that are kept to be shown.
const KEPT: usize = 2;

/// The continuations of one context under one condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sampled {
    /// Those that begin with a word of the first group.
    pub(super) first: u32,
    /// Of the second.
    pub(super) second: u32,
    pub(super) samples: u32,
    nats: f64,
    tokens: u64,
    /// The first ones, none picked.
    pub(super) texts: Vec<String>,
}

impl Sampled {
    /// p(first) - p(second); nothing if neither was seen, which says nothing about which is more probable.
    pub(super) fn delta(&self) -> Option<f64> {
        let seen = self.first + self.second > 0;
        seen.then(|| (f64::from(self.first) - f64::from(self.second)) / f64::from(self.samples))
    }

    /// Per token of all continuations, under the model as it is.
    pub(super) fn perplexity(&self) -> Option<f64> {
        Surprise { nats: self.nats, tokens: self.tokens }.perplexity()
    }
}

/// A context under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) concept: usize,
    pub(super) context: usize,
    pub(super) k: Strength,
}

#[derive(Serialize)]
struct Key<'a> {
    eval: &'static str,
    version: &'static str,
    model: String,
    treatment: Option<TreatmentKey>,
    first: &'a [String],
    second: &'a [String],
    context: &'a str,
    samples: u32,
    sampling: &'a lode_domain::sampling::Sampling,
}

/// What is measured, for people.
fn what(method: Method) -> &'static str {
    match method {
        Method::Do => "contexts continued",
        Method::Prompt => "contexts continued after an instruction",
        Method::Fudge => "contexts continued under FUDGE",
        Method::Steer => "contexts continued under steering",
    }
}

fn keys(parity: &Parity<'_>, writer: &Writer, places: &[Place]) -> anyhow::Result<Vec<String>> {
    let key = |place: &Place| {
        let key = Key {
            eval: "parity-sampled",
            version: env!("CARGO_PKG_VERSION"),
            model: parity.model.hash.to_string(),
            treatment: parity.key(place.concept, place.k),
            first: &parity.args.first_words,
            second: &parity.args.second_words,
            context: &parity.contexts[place.context].text,
            samples: parity.args.samples,
            sampling: &writer.sampling,
        };
        Ok(serde_json::to_string(&key)?)
    };
    places.iter().map(key).collect()
}

/// Samples every place.
pub(super) async fn sampled(
    parity: &Parity<'_>,
    writer: &Writer,
    store: &mut Store,
    places: &[Place],
) -> anyhow::Result<Vec<Sampled>> {
    let (keys, settings) = (keys(parity, writer, places)?, (what(parity.method), parity.args.shared.run.parallel));
    measured(store, &keys, settings, async |number| sample(parity, writer, places[number]).await).await
}

/// How long the places take, by `part` of them.
pub(super) async fn plan(
    parity: &Parity<'_>,
    writer: &Writer,
    (store, places): (&mut Store, &[Place]),
    part: u32,
) -> anyhow::Result<Estimate> {
    let (keys, parallel) = (keys(parity, writer, places)?, parity.args.shared.run.parallel);
    let measure = async |number: usize| sample(parity, writer, places[number]).await;
    estimated(store, &keys, (what(parity.method), parallel, part), measure).await
}

async fn sample(parity: &Parity<'_>, writer: &Writer, place: Place) -> anyhow::Result<Sampled> {
    let (first, second, samples) = (&parity.args.first_words, &parity.args.second_words, parity.args.samples);
    let prompt = [parity.contexts[place.context].text.clone()];
    let texts = writer.write(&prompt, &parity.treatment(place.concept, place.k), samples).await?;
    let surprise: Surprise = writer.surprises(&writer.model, &prompt, &texts).await?.into_iter().flatten().collect();
    let count = |words: &[String]| texts.iter().filter(|text| begins_with(&text.text, words)).count() as u32;
    let (first, second) = (count(first), count(second));
    let texts = texts.iter().take(KEPT).map(|text| text.text.clone()).collect();
    Ok(Sampled { first, second, samples, nats: surprise.nats, tokens: surprise.tokens, texts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_seen_says_nothing() {
        let sampled = |first, second, tokens| Sampled { first, second, samples: 10, nats: 2.0, tokens, texts: vec![] };
        assert_eq!(sampled(3, 1, 4).delta(), Some(0.2));
        assert_eq!(sampled(0, 0, 4).delta(), None);
        assert!((sampled(3, 1, 4).perplexity().unwrap() - 0.5f64.exp()).abs() < 1e-12);
        assert_eq!(sampled(3, 1, 0).perplexity(), None);
    }
}
