//! What counts as showing a concept in the next token: its words, as far as the model has them as one token.

use anyhow::Context as _;
use lode_domain::{
    concept::ConceptId,
    likelihood::{Passage, ScoredContinuation},
};

use crate::{
    cmd::eval::{lists, method::Treatment, writing::Writer},
    output::note,
};

/// Continuations that exclude each other: one of them, or none, comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Each with a space before it.
    pub(super) continuations: Vec<String>,
}

/// Those of a concept's list, in all regular forms, that are one token after `prompt`; where none is, all of the list as it stands.
pub(super) async fn words(
    writer: &Writer,
    (concept, list): (&ConceptId, &lists::Words),
    prompt: &str,
) -> anyhow::Result<Words> {
    let spaced =
        |words: &mut dyn Iterator<Item = String>| -> Vec<String> { words.map(|word| format!(" {word}")).collect() };
    let forms = spaced(&mut list.list.forms());
    let tokens = scored(writer, forms.clone(), prompt).await?;
    let single: Vec<(String, u32)> =
        forms.into_iter().zip(tokens).filter_map(|(form, tokens)| Some((form, *only(&tokens)?))).collect();
    if !single.is_empty() {
        return Ok(Words { continuations: apart(single.into_iter().map(|(form, token)| (form, vec![token]))) });
    }
    note(format_args!("no word of {concept} is one token of the model: whole words are scored, which is slower"));
    let whole = spaced(&mut list.entries.iter().map(|entry| entry.to_lowercase()));
    let tokens = scored(writer, whole.clone(), prompt).await?;
    Ok(Words { continuations: apart(whole.into_iter().zip(tokens)) })
}

/// The tokens of each continuation.
async fn scored(writer: &Writer, continuations: Vec<String>, prompt: &str) -> anyhow::Result<Vec<Vec<u32>>> {
    let passage = Passage { prompt: prompt.to_owned(), continuations };
    let answer = writer.score(&writer.model, &Treatment::default(), vec![passage]).await?;
    let passage = answer.into_iter().next().context("the cluster answered nothing")?;
    Ok(passage.into_iter().map(|one| one.tokens).collect())
}

fn only(tokens: &[u32]) -> Option<&u32> {
    match tokens {
        [only] => Some(only),
        _ => None,
    }
}

/// Without those whose tokens begin with another's: whoever writes the longer one has written the shorter.
fn apart(words: impl Iterator<Item = (String, Vec<u32>)>) -> Vec<String> {
    let mut kept: Vec<(String, Vec<u32>)> = Vec::new();
    let mut all: Vec<(String, Vec<u32>)> = words.collect();
    all.sort_by(|a, b| (a.1.len(), &a.0).cmp(&(b.1.len(), &b.0)));
    for (word, tokens) in all {
        if !kept.iter().any(|(_, shorter)| tokens.starts_with(shorter)) {
            kept.push((word, tokens));
        }
    }
    kept.into_iter().map(|(word, _)| word).collect()
}

/// The natural logarithm of the probability that one of a passage's continuations comes next; nothing where the model is out of its
/// numbers.
pub(super) fn log_mass(continuations: &[ScoredContinuation]) -> Option<f64> {
    let logs: Vec<f64> = continuations.iter().map(ScoredContinuation::log_probability).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() || logs.iter().any(|log| log.is_nan()) {
        return None;
    }
    Some(largest + logs.iter().map(|log| (log - largest).exp()).sum::<f64>().ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_exclude_each_other() {
        let words = [("goalkeeper", vec![4, 5]), ("goal", vec![4]), ("Goal", vec![4]), ("net", vec![6])];
        let found = apart(words.into_iter().map(|(word, tokens)| (word.to_owned(), tokens)));
        assert_eq!(found, ["Goal", "net"]);
    }

    #[test]
    fn probabilities_add_up() {
        let word = |log: f32| ScoredContinuation {
            tokens: vec![1],
            log_probabilities: vec![log],
            ..ScoredContinuation::default()
        };
        let found = log_mass(&[word(0.25f32.ln()), word(0.5f32.ln())]).unwrap();
        assert!((found - 0.75f64.ln()).abs() < 1e-6, "{found}");
        assert!(log_mass(&[word(-800.0), word(-800.0)]).unwrap() > -800.0, "far below what a number can be");
        assert_eq!((log_mass(&[]), log_mass(&[word(f32::NAN), word(-1.0)])), (None, None));
    }
}
