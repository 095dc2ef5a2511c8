//! A model as requests name it: `gpt2`, or with conditions for tools that cannot send others, `gpt2@sense/football:50`.
//!
//! `MODEL[@CONDITION[+CONDITION...]]`, a condition being `GROUP/NAME[:K]`; a comma does as well as the plus. What a condition does
//! not say is as in [`super::condition`]. Concepts whose names hold `+` or `,` cannot be named so: they have the field.

use std::str::FromStr;

use lode_domain::{concept::ConceptId, id::ModelName};

/// A model and the concepts it is conditioned on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelRef {
    pub(super) name: ModelName,
    /// Concepts, and how many units of each if that is said.
    pub(super) concepts: Vec<(ConceptId, Option<u32>)>,
}

impl FromStr for ModelRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, conditions) = match text.split_once('@') {
            Some((name, conditions)) => (name, Some(conditions)),
            None => (text, None),
        };
        let concepts = conditions.into_iter().flat_map(|all| all.split(['+', ','])).map(concept);
        let name = name.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { name, concepts: concepts.collect::<Result<_, _>>()? })
    }
}

fn concept(text: &str) -> Result<(ConceptId, Option<u32>), String> {
    let bad = |error: &dyn std::fmt::Display| {
        format!("{error}; conditions in a model's name look like gpt2@sense/football:50, several are joined by `+`")
    };
    let (name, k) = match text.rsplit_once(':') {
        Some((name, digits)) => {
            let k = digits.parse().map_err(|_| bad(&format_args!("`{digits}` is not a number of units")))?;
            (name, Some(k))
        }
        None => (text, None),
    };
    Ok((name.parse().map_err(|error| bad(&error))?, k))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Named = (String, Vec<(String, Option<u32>)>);

    fn read(text: &str) -> Result<Named, String> {
        let found: ModelRef = text.parse()?;
        let concepts = found.concepts.into_iter().map(|(concept, k)| (concept.to_string(), k)).collect();
        Ok((found.name.to_string(), concepts))
    }

    #[test]
    fn conditions_stand_behind_the_name() {
        assert_eq!(read("openai/gpt2"), Ok(("openai/gpt2".into(), vec![])));
        let two = vec![("sense/football".into(), Some(50)), ("topic/sea".into(), None)];
        assert_eq!(read("gpt2@sense/football:50+topic/sea"), Ok(("gpt2".into(), two.clone())));
        assert_eq!(read("gpt2@sense/football:50,topic/sea"), Ok(("gpt2".into(), two)));
        for (bad, said) in [
            ("gpt2@", "concept"),
            ("gpt2@football", "GROUP/NAME"),
            ("gpt2@sense/football:many", "`many` is not a number of units"),
            ("gpt2@sense/football:50+", "concept"),
            ("@sense/football", "model name"),
            ("", "model name"),
        ] {
            assert!(read(bad).unwrap_err().contains(said), "{bad}: {:?}", read(bad));
        }
    }
}
