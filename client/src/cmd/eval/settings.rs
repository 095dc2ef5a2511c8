//! What all evaluations have in common: the model, how texts are drawn, where results go.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use lode_client::Client;
use lode_domain::{
    concept::ConceptId,
    expertise::Recipe,
    id::ModelName,
    intervention::{Condition, ForcingValue, Positions, Rank, Target},
    pooling::Tokens,
    query::{ConceptRef, TopQuery},
    record::ModelRecord,
    sampling::Sampling,
};
use serde::Serialize;

use super::strength::Strength;
use crate::args::{ModelArg, RecipeArgs};

/// Flags of every evaluation.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The model: its name in the cluster; with --embedded NAME=PATH_OR_HUB_ID.
    #[arg(long, value_name = "NAME")]
    pub(super) model: ModelArg,
    /// Folder of the results, made if it is not there: what is measured is kept as it comes, so a run that was broken off goes
    /// on when it is started again.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Seed of all that is drawn; the same seed gives the same files, byte for byte.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(super) seed: u64,
    /// Only measure N cells of each kind, evenly spread over all of them, and say how long all will take; what they come to is kept.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "16", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) plan: Option<u32>,
    /// Requests under way at once.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) parallel: u32,
}

/// Flags of evaluations that write texts under do(c,k).
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SharedArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// What units are forced to: mean, p50, p90 or a number [default: mean; with --compat selfcond: p50].
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<ForcingValue>,
    /// Token positions at which they are forced: all, generated, last or FROM..TO.
    #[arg(long, value_name = "POSITIONS", default_value_t)]
    positions: Positions,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Softmax temperature.
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true, help_heading = "Sampling")]
    temperature: f32,
    /// Draw from this many most probable tokens; 0: from all.
    #[arg(long, value_name = "K", default_value_t = 10, help_heading = "Sampling")]
    top_k: u32,
    /// Draw from the smallest set of tokens whose probability reaches this.
    #[arg(long, value_name = "P", default_value_t = 1.0, help_heading = "Sampling")]
    top_p: f32,
}

impl SharedArgs {
    pub(super) fn recipe(&self) -> anyhow::Result<Recipe> {
        self.recipe.resolve()
    }

    /// How texts of at most `tokens` tokens are drawn.
    pub(super) fn sampling(&self, tokens: u32) -> anyhow::Result<Sampling> {
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.run.seed,
            max_new_tokens: tokens,
            ..Sampling::default()
        };
        sampling.check().map_err(|bad| anyhow::anyhow!("--{bad}"))?;
        Ok(sampling)
    }

    /// Where units are forced, and directions added.
    pub(super) fn positions(&self) -> Positions {
        self.positions
    }

    /// do(c,k) as the flags have it.
    pub(super) fn condition(&self, subject: &Subject, k: u32) -> Condition {
        let default = if subject.recipe.tokens == Tokens::Selfcond { ForcingValue::P50 } else { ForcingValue::Mean };
        Condition {
            target: Target::Experts {
                concept: subject.concept.clone(),
                recipe: subject.recipe,
                k,
                rank: Rank::Top,
                criterion: Default::default(),
            },
            value: self.value.unwrap_or(default),
            positions: self.positions,
        }
    }
}

/// A concept that is evaluated, and what its experts are now: mined again with other sentences they are others.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) concept: ConceptId,
    pub(super) recipe: Recipe,
    /// CRC-32 of the experts' numbers and values.
    pub(super) experts: String,
}

/// What the cluster knows of `name`.
pub(super) async fn model_record(client: &Client, name: &ModelName) -> anyhow::Result<ModelRecord> {
    let models = client.status().await?.models;
    let known: Vec<String> = models.iter().map(|status| status.model.name.to_string()).collect();
    let found = models.into_iter().find(|status| status.model.name == *name);
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Ok(found.with_context(|| format!("the cluster does not know model `{name}`; it knows {known}"))?.model)
}

/// The concepts of an evaluation, of which up to `k` experts will be forced.
pub(super) async fn subjects(
    client: &Client,
    model: &ModelRecord,
    (concepts, recipe): (&[ConceptId], Recipe),
    k: u32,
) -> anyhow::Result<Vec<Subject>> {
    let mut subjects: Vec<Subject> = Vec::new();
    for concept in concepts {
        if subjects.iter().any(|subject| subject.concept == *concept) {
            bail!("{concept} is named twice");
        }
        let of = ConceptRef { model: model.name.clone(), concept: concept.clone(), recipe };
        let query = TopQuery { top: k.clamp(1, model.units()), ..TopQuery::default() };
        let mut hasher = crc32fast::Hasher::new();
        for row in client.top(of, query).await?.rows {
            let expertise = row.expertise;
            let values = [expertise.ap, expertise.on_mean, expertise.on_p50, expertise.on_p90];
            hasher.update(&row.unit.0.to_le_bytes());
            values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
        }
        let experts = format!("{:08x}", hasher.finalize());
        subjects.push(Subject { concept: concept.clone(), recipe, experts });
    }
    Ok(subjects)
}

/// Everything that a condition follows from, as a key of the store has it.
#[derive(Debug, Serialize)]
pub(super) struct ConditionKey {
    concept: String,
    recipe: String,
    experts: String,
    k: u32,
    rank: String,
    value: String,
    positions: String,
}

impl ConditionKey {
    /// Nothing for a condition on listed units, which no evaluation has.
    pub(super) fn of(subject: &Subject, condition: &Condition) -> Option<Self> {
        let Target::Experts { concept, recipe, k, rank, .. } = &condition.target else { return None };
        Some(Self {
            concept: concept.to_string(),
            recipe: recipe.to_string(),
            experts: subject.experts.clone(),
            k: *k,
            rank: rank.to_string(),
            value: condition.value.to_string(),
            positions: condition.positions.to_string(),
        })
    }
}

/// A grid of k, ascending, each once, with k = 0 for the model as it is.
pub(super) fn grid(ks: &[u32], units: u32) -> anyhow::Result<Vec<Strength>> {
    let mut grid: Vec<u32> = ks.iter().copied().chain([0]).collect();
    grid.sort_unstable();
    grid.dedup();
    if let Some(k) = grid.iter().find(|&&k| k > units) {
        bail!("--k {k}: the model has {units} units");
    }
    Ok(grid.into_iter().map(Strength::from).collect())
}

/// The lines of a file that are not blank.
pub(super) fn lines(path: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        bail!("{} has no line of text", path.display());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_ascends_from_none() {
        assert_eq!(grid(&[10, 1, 10, 3], 10).unwrap(), [0, 1, 3, 10].map(Strength::from));
        assert!(grid(&[11], 10).unwrap_err().to_string().contains("--k 11: the model has 10 units"));
    }

    #[test]
    fn prompts_are_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.txt");
        std::fs::write(&path, "Once upon\n\n The end \n").unwrap();
        assert_eq!(lines(&path).unwrap(), ["Once upon", " The end "]);
        std::fs::write(&path, "\n \n").unwrap();
        assert!(lines(&path).unwrap_err().to_string().contains("no line"));
        assert!(lines(&folder.path().join("none")).unwrap_err().to_string().contains("cannot read"));
    }
}
