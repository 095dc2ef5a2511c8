//! Checks that compare the classes: ways to tell them apart that are not the concept.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Finding, FindingKind, Sentence, class_sizes};

/// Below this a class is too small for AP to mean much.
const FEW: u32 = 50;
/// From this ratio on the classes are told to be out of balance.
const IMBALANCED: u32 = 10;
/// From this area under the ROC curve on, length is told to rank the classes.
const LENGTH_AUC: f64 = 0.75;
/// From this difference between the classes' shares on, a feature is told to tell them apart.
const TELLTALE: f64 = 0.9;

pub(super) fn nothing_left(sentences: &[Sentence<'_>]) -> Option<Finding> {
    let (positive, negative) = class_sizes(sentences);
    (positive == 0 || negative == 0).then(|| Finding {
        kind: FindingKind::NothingLeft,
        count: positive + negative,
        example: sizes(positive, negative),
    })
}

pub(super) fn too_few(sentences: &[Sentence<'_>]) -> Option<Finding> {
    let (positive, negative) = class_sizes(sentences);
    let count = positive.min(negative);
    (1..FEW).contains(&count).then(|| Finding { kind: FindingKind::TooFew, count, example: sizes(positive, negative) })
}

pub(super) fn imbalance(sentences: &[Sentence<'_>]) -> Option<Finding> {
    let (positive, negative) = class_sizes(sentences);
    let count = positive.max(negative).checked_div(positive.min(negative))?;
    (count >= IMBALANCED).then(|| Finding { kind: FindingKind::Imbalance, count, example: sizes(positive, negative) })
}

fn sizes(positive: u32, negative: u32) -> String {
    format!("{positive} positives, {negative} negatives")
}

/// The area under the ROC curve of length as a score for b: how often a positive is longer than a negative, equal
/// lengths as half. Silent about small classes, where it is chance: [`too_few`] speaks there.
pub(super) fn length_confound(sentences: &[Sentence<'_>], unit: &str) -> Option<Finding> {
    let lengths = |positive| {
        let of_class = sentences.iter().filter(|sentence| sentence.positive == positive);
        let mut lengths: Vec<u32> = of_class.map(|sentence| sentence.length).collect();
        lengths.sort_unstable();
        lengths
    };
    let (positive, negative) = (lengths(true), lengths(false));
    if positive.len().min(negative.len()) < FEW as usize {
        return None;
    }
    let wins: usize = positive
        .iter()
        .map(|&length| {
            negative.partition_point(|&other| other < length) + negative.partition_point(|&other| other <= length)
        })
        .sum();
    let auc = wins as f64 / 2.0 / (positive.len() as f64 * negative.len() as f64);
    let strength = auc.max(1.0 - auc);
    (strength >= LENGTH_AUC).then(|| Finding {
        kind: FindingKind::LengthConfound,
        count: (100.0 * strength) as u32,
        example: format!(
            "medians: positives {} {unit}, negatives {} {unit}",
            positive[positive.len() / 2],
            negative[negative.len() / 2]
        ),
    })
}

pub(super) fn telltale(sentences: &[Sentence<'_>]) -> Option<Finding> {
    let (positive, negative) = class_sizes(sentences);
    if positive.min(negative) < FEW {
        return None;
    }
    let mut counts: FxHashMap<String, (u32, u32)> = FxHashMap::default();
    for sentence in sentences {
        for feature in features(sentence.text) {
            let (with_b, without_b) = counts.entry(feature).or_default();
            *if sentence.positive { with_b } else { without_b } += 1;
        }
    }
    let share = |count: u32, of: u32| f64::from(count) / f64::from(of);
    let gap = |&(with_b, without_b): &(u32, u32)| (share(with_b, positive) - share(without_b, negative)).abs();
    let strongest = counts
        .into_iter()
        .max_by(|(one, counts), (other, others)| gap(counts).total_cmp(&gap(others)).then_with(|| other.cmp(one)));
    let (feature, (with_b, without_b)) = strongest.filter(|(_, counts)| gap(counts) >= TELLTALE)?;
    let percent = |count, of| (100.0 * share(count, of)).round();
    Some(Finding {
        kind: FindingKind::Telltale,
        count: with_b + without_b,
        example: format!(
            "{feature} in {}% of positives, {}% of negatives",
            percent(with_b, positive),
            percent(without_b, negative)
        ),
    })
}

/// What a sentence has that a unit could follow: its words in lower case, its signs, a capital at its head.
fn features(text: &str) -> FxHashSet<String> {
    let word = |word: &str| format!("the word `{}`", word.to_lowercase());
    let mut features: FxHashSet<String> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(word).collect();
    let signs = text.chars().filter(|c| !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control());
    features.extend(signs.map(|sign| format!("the sign `{sign}`")));
    if text.chars().next().is_some_and(char::is_uppercase) {
        features.insert("a capital first letter".to_owned());
    }
    features
}
