//! do(c,k), and the methods that it is compared with.

use std::path::PathBuf;

use anyhow::bail;
use lode_domain::{
    guide::{Guide, MOST_CANDIDATES},
    intervention::Condition,
};
use serde::Serialize;

use super::settings::ConditionKey;

/// What makes texts show a concept. Each has a strength, 0 of which is the model as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Method {
    /// Forcing experts; the strength is k.
    Do,
    /// An instruction before the prompt; the strength is 1.
    Prompt,
    /// A future discriminator that weighs the next token (Yang and Klein 2021); the strength is lambda.
    Fudge,
    /// The difference of the means of the residual stream with and without the concept, added to it; the strength is in percent of that.
    Steer,
}

impl Method {
    /// In files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Do => "do",
            Self::Prompt => "prompt",
            Self::Fudge => "fudge",
            Self::Steer => "steer",
        }
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Do => "do(c,k)",
            Self::Prompt => "prompting",
            Self::Fudge => "FUDGE",
            Self::Steer => "steering",
        }
    }

    /// Whether it needs the concept's sentences.
    pub(super) fn learns(self) -> bool {
        matches!(self, Self::Fudge | Self::Steer)
    }

    /// What its strength is called.
    pub(super) fn strength(self) -> &'static str {
        match self {
            Self::Do => "k",
            Self::Prompt => "instruction",
            Self::Fudge => "lambda",
            Self::Steer => "percent",
        }
    }
}

/// Flags of the methods beside do(c,k).
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Methods")]
pub(super) struct MethodArgs {
    /// Methods that do(c,k) is compared with: prompt, fudge, steer.
    #[arg(long, value_name = "METHOD", value_delimiter = ',')]
    pub(super) methods: Vec<Method>,
    /// Concept files, or folders of them, with the sentences that the concepts were mined from: fudge, steer and the classifier that
    /// judges texts learn from them [default: the bundled concepts'].
    #[arg(long, value_name = "FILE")]
    pub(super) sentences: Vec<PathBuf>,
    /// What stands before the prompt with `prompt`; {} is the concept's name.
    #[arg(long, value_name = "TEXT", default_value = "Write about {}: ")]
    pub(super) instruction: String,
    /// Exponents of fudge.
    #[arg(long, value_name = "LAMBDA", value_delimiter = ',', default_values_t = [0, 1, 2, 4, 8, 12])]
    pub(super) lambda: Vec<u32>,
    /// Most probable tokens that fudge weighs.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_CANDIDATES)))]
    pub(super) candidates: u32,
    /// Strengths of steer, in percent of the difference of the means.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_values_t = [0, 50, 100, 200, 400, 800])]
    pub(super) percent: Vec<u32>,
    /// The block after which steer adds to the residual stream, from 0 on [default: the middle one].
    #[arg(long, value_name = "N")]
    pub(super) block: Option<u32>,
}

impl MethodArgs {
    /// The methods, do(c,k) first, each once.
    pub(super) fn all(&self) -> anyhow::Result<Vec<Method>> {
        if !self.instruction.contains("{}") {
            bail!("--instruction `{}`: it must have {{}} where the concept's name stands", self.instruction);
        }
        let mut all = vec![Method::Do];
        all.extend(self.methods.iter().copied());
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Strengths of a method beside do(c,k), ascending from 0.
    pub(super) fn grid(&self, method: Method) -> Vec<u32> {
        let given: &[u32] = match method {
            Method::Do => &[],
            Method::Prompt => &[1],
            Method::Fudge => &self.lambda,
            Method::Steer => &self.percent,
        };
        let mut grid: Vec<u32> = given.iter().copied().chain([0]).collect();
        grid.sort_unstable();
        grid.dedup();
        grid
    }
}

/// What is done to the model for a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Treatment {
    /// Stands before the prompt.
    pub(super) instruction: String,
    /// What is forced.
    pub(super) conditions: Vec<Condition>,
    /// What weighs the next token.
    pub(super) guide: Option<Guide>,
}

/// Everything that a treatment follows from, as a key of the store has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TreatmentKey {
    Do(ConditionKey),
    Prompt {
        instruction: String,
    },
    /// BLAKE3 of the discriminator.
    Fudge {
        discriminator: String,
        lambda: u32,
        candidates: u32,
    },
    /// BLAKE3 of the direction.
    Steer {
        direction: String,
        percent: u32,
        positions: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: MethodArgs,
    }

    fn read(line: &str) -> MethodArgs {
        Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace())).unwrap().args
    }

    #[test]
    fn do_is_always_first_and_grids_ascend_from_nothing() {
        let args = read("--methods fudge,prompt,fudge --lambda 4,1");
        assert_eq!(args.all().unwrap(), [Method::Do, Method::Prompt, Method::Fudge]);
        assert_eq!((args.grid(Method::Fudge), args.grid(Method::Prompt)), (vec![0, 1, 4], vec![0, 1]));
        assert_eq!(read("").grid(Method::Fudge), [0, 1, 2, 4, 8, 12]);
        assert!(read("--instruction About:").all().unwrap_err().to_string().contains("must have {}"));
        assert!(Line::try_parse_from(["x", "--methods", "pplm"]).unwrap_err().to_string().contains("fudge"));
    }
}
