//! Perplexity from log probabilities.

/// How surprised a model was: the sum over tokens of their negative log probability, and how many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surprise {
    /// Nats.
    pub nats: f64,
    /// Tokens summed over.
    pub tokens: u64,
}

impl Surprise {
    /// Of tokens with these natural log probabilities, `[token]`.
    pub fn of(log_probabilities: &[f32]) -> Self {
        let nats = log_probabilities.iter().map(|&log| -f64::from(log)).sum();
        Self { nats, tokens: log_probabilities.len() as u64 }
    }

    /// Both together: a long text counts for more than a short one.
    pub fn and(self, other: Self) -> Self {
        Self { nats: self.nats + other.nats, tokens: self.tokens + other.tokens }
    }

    /// exp of the mean negative log probability per token (Jelinek et al. 1977); nothing without tokens.
    pub fn perplexity(self) -> Option<f64> {
        (self.tokens > 0).then(|| (self.nats / self.tokens as f64).exp())
    }
}

impl FromIterator<Self> for Surprise {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), Self::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexity_is_the_geometric_mean_of_choices() {
        let half = 0.5f32.ln();
        let eighth = 0.125f32.ln();
        assert!((Surprise::of(&[half, half]).perplexity().unwrap() - 2.0).abs() < 1e-6);
        let both: Surprise = [Surprise::of(&[half]), Surprise::of(&[eighth])].into_iter().collect();
        assert!((both.perplexity().unwrap() - 4.0).abs() < 1e-6);
        assert_eq!(Surprise::default().perplexity(), None);
    }
}
