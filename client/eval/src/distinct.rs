//! Distinct-n (Li et al. 2016): the share of n-grams that differ.

use std::collections::HashMap;

use crate::stats::Ratio;

/// Distinct n-grams over all n-grams, as one ratio a text, `[text]`: the sums over all texts are the two counts.
///
/// A text's share of an n-gram is one over how often the n-gram stands in all texts together. So the texts can be resampled
/// while what they are compared with stays: texts drawn twice would be distinct from nothing.
pub fn distinct<T: AsRef<[String]>>(texts: &[T], n: usize) -> Vec<Ratio> {
    let mut counts: HashMap<&[String], usize> = HashMap::new();
    for gram in texts.iter().flat_map(|text| text.as_ref().windows(n.max(1))) {
        *counts.entry(gram).or_default() += 1;
    }
    let share = |text: &T| {
        let grams = text.as_ref().windows(n.max(1));
        let over = grams.len() as f64;
        Ratio { of: grams.map(|gram| 1.0 / counts[gram] as f64).sum(), over }
    };
    texts.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokens;

    #[test]
    fn shares_sum_to_the_number_of_distinct_ngrams() {
        let texts = [tokens("a b a b"), tokens("a b c")];
        let all: Ratio = distinct(&texts, 2).into_iter().collect();
        assert!((all.of - 3.0).abs() < 1e-12, "a b, b a, b c");
        assert!((all.value().unwrap() - 3.0 / 5.0).abs() < 1e-12);
        assert_eq!(distinct(&[tokens("a")], 2)[0].value(), None);
    }
}
