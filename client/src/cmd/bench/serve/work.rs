//! What is asked for.

use anyhow::bail;
use lode_client::Client;
use lode_domain::{
    concept::ConceptId,
    criterion::Criterion,
    expertise::Recipe,
    generation::GenerateRequest,
    id::ModelName,
    intervention::{Condition, ForcingValue, Positions, Rank, Target},
    sampling::Sampling,
};

/// What all requests have in common.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) model: ModelName,
    pub(super) samples: u32,
    pub(super) max_new_tokens: u32,
    pub(super) temperature: f32,
    pub(super) seed: u64,
    /// Units that a condition forces.
    pub(super) k: u32,
}

/// Everything that requests are made of.
pub(super) struct Work {
    pub(super) shape: Shape,
    prompts: Vec<String>,
    pub(super) conditions: Vec<Condition>,
}

/// Prompts that go well with anything.
pub(super) fn neutral_prompts() -> Vec<String> {
    let prompts =
        ["Yesterday", "Once upon a time", "The next day", "I think that", "In the morning they", "Some people say"];
    prompts.map(str::to_owned).to_vec()
}

/// The lines of a file that say something.
pub(super) fn prompts_of(text: &str) -> anyhow::Result<Vec<String>> {
    let prompts: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if prompts.is_empty() {
        bail!("there is no prompt in it: write one a line");
    }
    Ok(prompts)
}

impl Work {
    /// Finds the conditions: so many distinct ones of `concepts`, or of all that were mined in the model.
    pub(super) async fn prepare(
        client: &Client,
        shape: Shape,
        prompts: Vec<String>,
        (concepts, count): (&[ConceptId], u32),
    ) -> anyhow::Result<Self> {
        let count = if count == 0 { concepts.len() } else { count as usize };
        let mut concepts = concepts.to_vec();
        if count > 0 && concepts.is_empty() {
            let indexed = client.concepts(&shape.model).await?.into_iter();
            concepts = indexed.filter(|one| one.recipe == Recipe::default()).map(|one| one.concept).collect();
        }
        let conditions = distinct(&concepts, shape.k);
        if count > conditions.len() {
            bail!(
                "{} concepts make {} distinct conditions, {count} are asked for: mine more concepts in model `{}`",
                concepts.len(),
                conditions.len(),
                shape.model
            );
        }
        Ok(Self { shape, prompts, conditions: conditions.into_iter().take(count).collect() })
    }

    /// Request number `number`: prompts and conditions in turn, its own seed.
    pub(super) fn request(&self, number: u32) -> GenerateRequest {
        let in_turn = |len: usize| number as usize % len;
        let sampling = Sampling {
            temperature: self.shape.temperature,
            seed: self.shape.seed.wrapping_add(number.into()),
            max_new_tokens: self.shape.max_new_tokens,
            ..Sampling::default()
        };
        let condition = (!self.conditions.is_empty()).then(|| self.conditions[in_turn(self.conditions.len())].clone());
        GenerateRequest {
            model: self.shape.model.clone(),
            prompt: self.prompts[in_turn(self.prompts.len())].clone(),
            conditions: condition.into_iter().collect(),
            observe: Vec::new(),
            sampling,
            samples: self.shape.samples,
            guide: None,
        }
    }
}

/// All conditions that k units of each concept make: first the experts of all, then other values and ranks.
fn distinct(concepts: &[ConceptId], k: u32) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for rank in [Rank::Top, Rank::Next, Rank::Bottom] {
        for value in [ForcingValue::Mean, ForcingValue::P50, ForcingValue::P90] {
            conditions.extend(concepts.iter().map(|concept| {
                let (recipe, criterion) = (Recipe::default(), Criterion::default());
                let target = Target::Experts { concept: concept.clone(), recipe, k, rank, criterion };
                Condition { target, value, positions: Positions::All }
            }));
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_distinct() {
        let concepts: Vec<ConceptId> = ["a/b", "c/d"].map(|text| text.parse().unwrap()).to_vec();
        let all = distinct(&concepts, 7);
        assert_eq!(all.len(), 18);
        assert!((1..all.len()).all(|place| !all[..place].contains(&all[place])));
    }

    #[test]
    fn requests_take_turns_and_have_seeds_of_their_own() {
        let shape =
            Shape { model: "m".parse().unwrap(), samples: 2, max_new_tokens: 3, temperature: 0.5, seed: 9, k: 1 };
        let conditions = distinct(&["a/b".parse().unwrap()], 1);
        let work = Work { shape, prompts: vec!["x".into(), "y".into()], conditions };
        let (first, third) = (work.request(0), work.request(2));
        assert_eq!((&first.prompt, first.sampling.seed, third.sampling.seed), (&third.prompt, 9, 11));
        assert_ne!(first.conditions, third.conditions);
        assert_eq!(work.request(9).conditions, first.conditions);
        assert!(prompts_of("\n  \n").is_err());
        assert_eq!(prompts_of("a\n\n b\n").unwrap(), ["a", " b"]);
    }
}
