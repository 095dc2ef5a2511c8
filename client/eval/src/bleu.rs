//! Self-BLEU (Zhu et al. 2018): how much a sample of texts repeats itself.

use std::collections::HashMap;

/// What stands for the number of matches where there is none: nltk's smoothing `method1` with its default epsilon
/// (Chen and Cherry 2014).
const EPSILON: f64 = 0.1;

/// For every text its BLEU (Papineni et al. 2002) with all other texts as references, up to n-grams of `order` tokens with
/// equal weights; `[text]`. 1 is a text that others contain whole.
///
/// The arithmetic is that of `nltk.translate.bleu_score.sentence_bleu` with `SmoothingFunction().method1`. Self-BLEU is the
/// mean. Time and memory grow with the number of tokens, not with the square of the texts: of an n-gram only the two
/// largest counts in a text matter. A text alone has no references, and so no BLEU.
pub fn self_bleu<T: AsRef<[String]>>(texts: &[T], order: usize) -> Vec<f64> {
    if texts.len() < 2 || order == 0 {
        return Vec::new();
    }
    let most: Vec<HashMap<&[String], Most>> = (1..=order).map(|n| most_counts(texts, n)).collect();
    let mut lengths: Vec<usize> = texts.iter().map(|text| text.as_ref().len()).collect();
    lengths.sort_unstable();
    let bleu = |(number, text): (usize, &T)| {
        let text = text.as_ref();
        let mut log_precision = 0.0;
        for (n, most) in (1..).zip(&most) {
            let counts = counts(text, n);
            let total: usize = counts.values().sum();
            let matches: usize = counts.iter().map(|(gram, &own)| own.min(most[gram].besides(number))).sum();
            if n == 1 && matches == 0 {
                return 0.0;
            }
            let matches = if matches == 0 { EPSILON } else { matches as f64 };
            log_precision += (matches / total.max(1) as f64).ln() / order as f64;
        }
        brevity(text.len(), closest(&lengths, text.len())) * log_precision.exp()
    };
    texts.iter().enumerate().map(bleu).collect()
}

/// The two largest counts of an n-gram in a text, and whose the larger is.
#[derive(Default)]
struct Most {
    largest: usize,
    of: usize,
    second: usize,
}

impl Most {
    /// The largest count in a text other than `text`.
    fn besides(&self, text: usize) -> usize {
        if self.of == text { self.second } else { self.largest }
    }

    fn take(&mut self, text: usize, count: usize) {
        if count > self.largest {
            (self.second, self.largest, self.of) = (self.largest, count, text);
        } else {
            self.second = self.second.max(count);
        }
    }
}

fn counts(text: &[String], n: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    for gram in text.windows(n) {
        *counts.entry(gram).or_default() += 1;
    }
    counts
}

fn most_counts<T: AsRef<[String]>>(texts: &[T], n: usize) -> HashMap<&[String], Most> {
    let mut most: HashMap<&[String], Most> = HashMap::new();
    for (number, text) in texts.iter().enumerate() {
        for (gram, count) in counts(text.as_ref(), n) {
            most.entry(gram).or_default().take(number, count);
        }
    }
    most
}

/// The reference length nearest to `own`, the shorter of two; `sorted` has the lengths of all texts, the own once.
fn closest(sorted: &[usize], own: usize) -> usize {
    let place = sorted.partition_point(|&length| length < own);
    let (below, above) = (place.checked_sub(1), place + 1);
    match (below.map(|at| sorted[at]), sorted.get(above).copied()) {
        (Some(below), Some(above)) if above - own < own - below => above,
        (Some(below), _) => below,
        (None, above) => above.unwrap_or(own),
    }
}

/// The brevity penalty.
fn brevity(own: usize, reference: usize) -> f64 {
    match own {
        0 => 0.0,
        _ if own > reference => 1.0,
        _ => (1.0 - reference as f64 / own as f64).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokens;

    #[test]
    fn equal_texts_repeat_wholly_and_others_not_at_all() {
        let same = vec![tokens("the cat sat on the mat"); 3];
        assert!(self_bleu(&same, 4).iter().all(|bleu| (bleu - 1.0).abs() < 1e-12));
        let apart = [tokens("one two three"), tokens("four five six")];
        assert_eq!(self_bleu(&apart, 3), [0.0, 0.0]);
    }

    #[test]
    fn a_text_alone_has_none() {
        assert!(self_bleu(&[tokens("alone")], 3).is_empty());
    }

    #[test]
    fn the_nearest_length_is_another_texts() {
        assert_eq!(closest(&[4, 6, 9], 6), 4, "the shorter of two as near");
        assert_eq!(closest(&[4, 6, 7], 6), 7);
        assert_eq!(closest(&[6, 6, 9], 6), 6);
        assert_eq!(closest(&[6, 9], 6), 9);
    }
}
