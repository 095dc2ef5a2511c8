//! Conditions as JSON: `"condition": {"concept": "sense/football", "k": 50}`, or a list of them.
//!
//! A condition names a `concept` or lists `units` (names or numbers). The other fields have the defaults of the command line: `k` (50),
//! `rank` (`"top"`), `criterion` (`"ap"`), `value` (`"mean"`, under `selfcond` tokens `"p50"`; a number is a constant), `positions` (`"all"`), `recipe`
//! (`{"pooling": "max", "tokens": "own"}`). A field that is misspelt is an error: it would silently force something else.

use std::{fmt::Display, str::FromStr};

use lode_domain::{
    concept::ConceptId,
    expertise::Recipe,
    intervention::{Condition, ForcingValue, Target, UnitRef},
    pooling::{Pooling, Tokens},
};
use serde::Deserialize;
use serde_json::Value;

use super::{body::part, error::ApiError};

/// Units forced, or looked at, unless told otherwise.
pub(super) const DEFAULT_K: u32 = 50;

/// Where conditions stand in a request.
const FIELD: &str = "condition";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    concept: Option<String>,
    units: Option<Vec<Value>>,
    k: Option<u32>,
    rank: Option<String>,
    criterion: Option<String>,
    value: Option<Value>,
    positions: Option<String>,
    recipe: Option<RecipeBody>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RecipeBody {
    pooling: Option<String>,
    tokens: Option<String>,
}

/// The conditions of a request: those of the model's name, then those of the field.
pub(super) fn conditions(
    named: Vec<(ConceptId, Option<u32>)>,
    field: Option<&Value>,
) -> Result<Vec<Condition>, ApiError> {
    let named = named.into_iter().map(|(concept, k)| {
        let body = Body { concept: Some(concept.to_string()), k, ..Body::default() };
        body.condition("model")
    });
    let given = one_or_many(field, FIELD).into_iter().map(|(path, value)| part::<Body>(value, &path)?.condition(&path));
    named.chain(given).collect()
}

/// What stands in a field that takes one or a list, each with its place.
pub(super) fn one_or_many<'v>(field: Option<&'v Value>, name: &str) -> Vec<(String, &'v Value)> {
    match field {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(many)) => {
            many.iter().enumerate().map(|(number, one)| (format!("{name}[{number}]"), one)).collect()
        }
        Some(one) => vec![(name.to_owned(), one)],
    }
}

impl Body {
    fn condition(self, path: &str) -> Result<Condition, ApiError> {
        let positions = self.positions.as_deref().map(|text| word(text, path, "positions")).transpose()?;
        let recipe = self.recipe.clone().unwrap_or_default().recipe(path)?;
        let value = match &self.value {
            None | Some(Value::Null) if recipe.tokens == Tokens::Selfcond => ForcingValue::P50,
            None | Some(Value::Null) => ForcingValue::Mean,
            Some(Value::String(text)) => word(text, path, "value")?,
            Some(Value::Number(number)) => word(&number.to_string(), path, "value")?,
            Some(other) => return Err(wrong(path, "value", &format_args!("{other} is neither a word nor a number"))),
        };
        let target = self.target(recipe, path)?;
        let condition = Condition { target, value, positions: positions.unwrap_or_default() };
        condition.check().map_err(|bad| ApiError::field(path, format!("`{path}`: {bad}")))?;
        Ok(condition)
    }

    fn target(&self, recipe: Recipe, path: &str) -> Result<Target, ApiError> {
        match (&self.concept, &self.units) {
            (Some(concept), None) => Ok(Target::Experts {
                concept: word(concept, path, "concept")?,
                recipe,
                k: self.k.unwrap_or(DEFAULT_K),
                rank: self.rank.as_deref().map(|text| word(text, path, "rank")).transpose()?.unwrap_or_default(),
                criterion: self
                    .criterion
                    .as_deref()
                    .map(|text| word(text, path, "criterion"))
                    .transpose()?
                    .unwrap_or_default(),
            }),
            (None, Some(units)) => {
                let of_concepts = [
                    ("k", self.k.is_some()),
                    ("rank", self.rank.is_some()),
                    ("criterion", self.criterion.is_some()),
                    ("recipe", self.recipe.is_some()),
                ];
                if let Some((name, _)) = of_concepts.iter().find(|(_, given)| *given) {
                    return Err(wrong(path, name, &"it goes with `concept`, not with `units`"));
                }
                units.iter().map(|unit| unit_ref(unit, path)).collect::<Result<_, _>>().map(Target::Units)
            }
            (None, None) => {
                let example = "give `concept`, for example \"sense/football\", or `units`";
                Err(ApiError::field(path, format!("`{path}` names nothing to force: {example}")))
            }
            (Some(_), Some(_)) => Err(ApiError::field(path, format!("`{path}` has `concept` and `units`: give one"))),
        }
    }
}

impl RecipeBody {
    pub(super) fn recipe(&self, path: &str) -> Result<Recipe, ApiError> {
        let pooling: Option<Pooling> =
            self.pooling.as_deref().map(|text| word(text, path, "recipe.pooling")).transpose()?;
        let tokens: Option<Tokens> =
            self.tokens.as_deref().map(|text| word(text, path, "recipe.tokens")).transpose()?;
        Ok(Recipe { pooling: pooling.unwrap_or_default(), tokens: tokens.unwrap_or_default() })
    }
}

fn unit_ref(unit: &Value, path: &str) -> Result<UnitRef, ApiError> {
    match unit {
        Value::String(text) => word(text, path, "units"),
        Value::Number(number) => word(&number.to_string(), path, "units"),
        other => Err(wrong(path, "units", &format_args!("{other} is neither a unit's name nor its number"))),
    }
}

/// Reads a word of the domain; an error names the field `name` of what stands at `path`.
pub(super) fn word<T: FromStr<Err: Display>>(text: &str, path: &str, name: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| wrong(path, name, &error))
}

fn wrong(path: &str, name: &str, problem: &dyn Display) -> ApiError {
    let path = if path == "model" { path.to_owned() } else { format!("{path}.{name}") };
    ApiError::field(path.clone(), format!("`{path}`: {problem}"))
}

#[cfg(test)]
mod tests {
    use lode_domain::{
        criterion::Criterion,
        intervention::{Positions, Rank},
    };
    use serde_json::json;

    use super::*;

    fn experts(concept: &str, k: u32, rank: Rank) -> Target {
        Target::Experts {
            concept: concept.parse().unwrap(),
            recipe: Recipe::default(),
            k,
            rank,
            criterion: Criterion::Ap,
        }
    }

    #[test]
    fn what_is_not_said_is_as_on_the_command_line() {
        let named = vec![("topic/sea".parse().unwrap(), Some(7))];
        let read = conditions(named, Some(&json!({"concept": "sense/bank"}))).unwrap();
        let plain = |target| Condition { target, value: ForcingValue::Mean, positions: Positions::All };
        let expected = [experts("topic/sea", 7, Rank::Top), experts("sense/bank", 50, Rank::Top)].map(plain);
        assert_eq!(read, expected);
        let selfcond = json!([{"concept": "a/b", "recipe": {"tokens": "selfcond"}}]);
        assert_eq!(conditions(vec![], Some(&selfcond)).unwrap()[0].value, ForcingValue::P50);
        assert_eq!(conditions(vec![], Some(&Value::Null)).unwrap(), []);
    }

    #[test]
    fn all_that_a_condition_can_be_can_be_said() {
        let one = |field: Value| conditions(vec![], Some(&field)).unwrap().remove(0);
        let all = one(json!({"concept": "a/b", "k": 3, "value": -2.5, "rank": "next", "positions": "3..8"}));
        let window = Positions::Window { from: 3, to: 8 };
        let target = experts("a/b", 3, Rank::Next);
        assert_eq!(all, Condition { target, value: ForcingValue::Constant(-2.5), positions: window });
        let by_d = one(json!({"concept": "a/b", "criterion": "cohens-d"}));
        assert!(matches!(by_d.target, Target::Experts { criterion: Criterion::CohensD, .. }));
        let listed = one(json!({"units": ["h.0.mlp[3]", 17], "value": "scale:0.5"}));
        let units = ["h.0.mlp[3]", "17"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!((listed.target, listed.value), (Target::Units(units), ForcingValue::Scale(0.5)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (field, param, said) in [
            (json!({"concept": "a/b", "K": 50}), "condition.K", "unknown field `K`"),
            (json!([{"concept": "a/b"}, {"k": 5}]), "condition[1]", "names nothing to force"),
            (json!({"concept": "a"}), "condition.concept", "GROUP/NAME"),
            (json!({"concept": "a/b", "k": -1}), "condition.k", "-1"),
            (json!({"concept": "a/b", "rank": "best"}), "condition.rank", "top"),
            (json!({"concept": "a/b", "criterion": "best"}), "condition.criterion", "auroc"),
            (json!({"units": [1], "criterion": "ap", "value": 0}), "condition.criterion", "goes with `concept`"),
            (json!({"concept": "a/b", "value": [1]}), "condition.value", "[1]"),
            (json!({"concept": "a/b", "recipe": {"pool": 1}}), "condition.recipe.pool", "unknown field"),
            (json!({"concept": "a/b", "units": [1]}), "condition", "give one"),
            (json!({"units": [1], "k": 5, "value": 0}), "condition.k", "goes with `concept`"),
            (json!({"units": [1.5], "value": 0}), "condition.units", "1.5"),
            (json!({"units": []}), "condition", "names none"),
            (json!("a/b"), "condition", "a/b"),
        ] {
            let error = conditions(vec![], Some(&field)).unwrap_err().body()["error"].clone();
            assert!(error["message"].as_str().unwrap().contains(said), "{field}: {error}");
            assert_eq!(error["param"], param, "{field}: {error}");
        }
    }
}
