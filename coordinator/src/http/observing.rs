//! Concepts to observe, as JSON: `"observe": ["topic/sea", {"concept": "sense/football", "k": 100}]`.

use lode_domain::observation::Observe;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    body::part,
    condition::{DEFAULT_K, RecipeBody, one_or_many, word},
    error::ApiError,
    logprobs::plain,
};

/// Where they stand in a request.
const FIELD: &str = "observe";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    concept: String,
    #[serde(default)]
    k: Option<u32>,
    #[serde(default)]
    recipe: Option<RecipeBody>,
}

/// The concepts of the field.
pub(super) fn observed(field: Option<&Value>) -> Result<Vec<Observe>, ApiError> {
    let read = |(path, value): (String, &Value)| {
        let body = match value {
            Value::String(concept) => Body { concept: concept.clone(), k: None, recipe: None },
            value => part(value, &path)?,
        };
        let recipe = body.recipe.unwrap_or_default().recipe(&path)?;
        Ok(Observe { concept: word(&body.concept, &path, "concept")?, recipe, k: body.k.unwrap_or(DEFAULT_K) })
    };
    one_or_many(field, FIELD).into_iter().map(read).collect()
}

/// A token's strengths by concept; of a concept that is observed twice, under several recipes or k, those of the later one.
pub(super) fn strengths(concepts: &[String], strengths: &[f32]) -> Value {
    let by_concept = concepts.iter().zip(strengths).map(|(concept, &strength)| (concept.clone(), plain(strength)));
    Value::Object(by_concept.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn concepts_are_named_or_described() {
        let read =
            observed(Some(&json!(["topic/sea", {"concept": "a/b", "k": 7, "recipe": {"pooling": "mean"}}]))).unwrap();
        let said: Vec<_> = read.iter().map(|one| (one.concept.to_string(), one.k, one.recipe.to_string())).collect();
        assert_eq!(said, [("topic/sea".into(), 50, "max-own".into()), ("a/b".into(), 7, "mean-own".into())]);
        assert_eq!(observed(Some(&json!("topic/sea"))).unwrap().len(), 1);
        assert_eq!(observed(None).unwrap(), []);
        for (field, param) in
            [(json!(["sea"]), "observe[0].concept"), (json!({"concept": "a/b", "kk": 1}), "observe.kk")]
        {
            assert_eq!(observed(Some(&field)).unwrap_err().body()["error"]["param"], param);
        }
    }

    #[test]
    fn strengths_go_by_concept() {
        let concepts = ["a/b".to_owned(), "c/d".to_owned()];
        assert_eq!(strengths(&concepts, &[0.1, -1.0]).to_string(), r#"{"a/b":0.1,"c/d":-1.0}"#);
    }
}
