//! do(c,k), and the methods that it is compared with.

use std::path::PathBuf;

use anyhow::bail;
use lode_domain::{
    guide::{Guide, MOST_CANDIDATES},
    intervention::Condition,
};
use serde::Serialize;

use super::{settings::ConditionKey, strength::Strength};

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

    /// How finely a search looks for a strength.
    pub(super) fn step(self) -> Strength {
        match self {
            Self::Do | Self::Prompt | Self::Steer => Strength::of_thousandths(1000),
            Self::Fudge => Strength::of_thousandths(10),
        }
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
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(super) sentences: Vec<PathBuf>,
    /// What stands before the prompt with `prompt`; {} is the concept's name.
    #[arg(long, value_name = "TEXT", default_value = "Write about {}: ")]
    pub(super) instruction: String,
    /// Exponents of fudge, with up to three decimals.
    #[arg(long, value_name = "LAMBDA", value_delimiter = ',', default_value = "0,0.25,0.5,1,2,4,8,12")]
    pub(super) lambda: Vec<Strength>,
    /// Most probable tokens that fudge weighs.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_CANDIDATES)))]
    pub(super) candidates: u32,
    /// Strengths of steer, in percent of the difference of the means, with up to three decimals.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "0,50,100,200,400,800")]
    pub(super) percent: Vec<Strength>,
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
    pub(super) fn grid(&self, method: Method) -> Vec<Strength> {
        let given: &[Strength] = match method {
            Method::Do => &[],
            Method::Prompt => &[Strength::of_thousandths(1000)],
            Method::Fudge => &self.lambda,
            Method::Steer => &self.percent,
        };
        let mut grid: Vec<Strength> = given.iter().copied().chain([Strength::NONE]).collect();
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
        lambda: Strength,
        candidates: u32,
    },
    /// BLAKE3 of the direction.
    Steer {
        direction: String,
        percent: Strength,
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
        let args = read("--methods fudge,prompt,fudge --lambda 4,0.25");
        assert_eq!(args.all().unwrap(), [Method::Do, Method::Prompt, Method::Fudge]);
        let shown =
            |args: &MethodArgs, method| args.grid(method).iter().map(Strength::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!((shown(&args, Method::Fudge), shown(&args, Method::Prompt)), ("0 0.25 4".into(), "0 1".into()));
        assert_eq!(shown(&read(""), Method::Fudge), "0 0.25 0.5 1 2 4 8 12");
        assert_eq!(read("--sentences a.json b --sentences c").sentences.len(), 3);
        assert!(read("--instruction About:").all().unwrap_err().to_string().contains("must have {}"));
        assert!(Line::try_parse_from(["x", "--methods", "pplm"]).unwrap_err().to_string().contains("fudge"));
    }
}
