//! Unigram and bigram models over tokens: what the trained model has to beat.

use std::collections::HashMap;

/// Counts of tokens and of neighbours.
pub struct Ngrams {
    /// Add-one smoothed share of each token.
    unigram: Vec<f64>,
    pairs: HashMap<(u32, u32), u32>,
    /// By the first token of a pair: pairs counted, and different ones.
    contexts: Vec<(u32, u32)>,
}

impl Ngrams {
    /// Counts texts of token ids below `vocab_size`; the first token of a text is context only.
    pub fn count<'a>(texts: impl Iterator<Item = &'a [u32]>, vocab_size: usize) -> Self {
        let mut counts = vec![1u32; vocab_size];
        let mut pairs = HashMap::new();
        let mut contexts = vec![(0, 0); vocab_size];
        for text in texts {
            for pair in text.windows(2) {
                counts[pair[1] as usize] += 1;
                let times: &mut u32 = pairs.entry((pair[0], pair[1])).or_default();
                let context = &mut contexts[pair[0] as usize];
                context.0 += 1;
                context.1 += u32::from(*times == 0);
                *times += 1;
            }
        }
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        Self { unigram: counts.into_iter().map(|count| f64::from(count) / total).collect(), pairs, contexts }
    }

    /// Probability of a token.
    pub fn unigram(&self, token: u32) -> f64 {
        self.unigram[token as usize]
    }

    /// Probability of a token after another, interpolated with the unigram by Witten and Bell's rule: the more
    /// different tokens have followed, the more a new one is expected.
    pub fn bigram(&self, before: u32, token: u32) -> f64 {
        let (seen, different) = self.contexts[before as usize];
        if seen == 0 {
            return self.unigram(token);
        }
        let times = f64::from(self.pairs.get(&(before, token)).copied().unwrap_or_default());
        (times + f64::from(different) * self.unigram(token)) / f64::from(seen + different)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let texts: [&[u32]; 2] = [&[0, 1, 2, 1, 2], &[0, 2, 2]];
        let ngrams = Ngrams::count(texts.into_iter(), 5);
        let unigram: f64 = (0..5).map(|token| ngrams.unigram(token)).sum();
        assert!((unigram - 1.0).abs() < 1e-12, "{unigram}");
        for before in 0..5 {
            let sum: f64 = (0..5).map(|token| ngrams.bigram(before, token)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "after {before}: {sum}");
        }
        assert!(ngrams.bigram(1, 2) > ngrams.bigram(1, 0));
    }
}
