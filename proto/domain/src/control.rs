//! Models to compare with: what a unit finds in one of them was not learned.

use std::{fmt, str::FromStr};

use crate::{
    id::{BadId, ModelName},
    words::BadChoice,
};

/// What is done to a model so that it becomes a control of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// The same shape, its weights drawn anew as before training: what units find in it can be seen in the tokens alone.
    RandomInit {
        /// Seed of the draw.
        seed: u64,
    },
}

/// The seed unless another is told.
const SEED: u64 = 0;

impl Control {
    /// What the control of a model is called: never as the model itself.
    ///
    /// # Errors
    /// If that is too long for a name.
    pub fn name_of(self, model: &ModelName) -> Result<ModelName, BadId> {
        let Self::RandomInit { seed } = self;
        if seed == SEED { format!("{model}.random-init") } else { format!("{model}.random-init-{seed}") }.parse()
    }
}

impl FromStr for Control {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        let bad = || BadChoice { text: text.to_owned(), choices: "random-init, random-init:SEED" };
        match text.split_once(':') {
            None if text == "random-init" => Ok(Self::RandomInit { seed: SEED }),
            Some(("random-init", seed)) => Ok(Self::RandomInit { seed: seed.parse().map_err(|_| bad())? }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RandomInit { seed: SEED } => f.write_str("random-init"),
            Self::RandomInit { seed } => write!(f, "random-init:{seed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_have_words_and_names_of_their_own() {
        for (text, seed, name) in [("random-init", 0, "org/m.random-init"), ("random-init:7", 7, "org/m.random-init-7")]
        {
            let control: Control = text.parse().unwrap();
            assert_eq!((control, control.to_string().as_str()), (Control::RandomInit { seed }, text));
            assert_eq!(control.name_of(&"org/m".parse().unwrap()).unwrap().as_str(), name);
        }
        for text in ["random", "random-init:", "random-init:x", "shuffled"] {
            assert!(text.parse::<Control>().unwrap_err().to_string().contains("random-init:SEED"), "{text}");
        }
        assert!(Control::RandomInit { seed: 0 }.name_of(&"m".repeat(195).parse().unwrap()).is_err());
    }
}
