//! The parameters of queries, as they stand behind `?`.

use std::str::FromStr;

use lode_domain::{
    compare::Experts,
    concept::ConceptId,
    expertise::Recipe,
    id::ModelName,
    pooling::{Pooling, Tokens},
    query::ConceptRef,
};

use super::error::ApiError;

/// Experts unless told otherwise.
const DEFAULT_TOP: u32 = 50;

/// What was given, by name; what nobody has asked for by the end is an error, for it was misspelt.
pub(super) struct Params {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Params {
    /// Reads what stands behind `?`.
    pub(super) fn read(query: Option<&str>) -> Self {
        let given = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { given, known: Vec::new() }
    }

    /// The value of a parameter that may be left out.
    pub(super) fn get<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, ApiError> {
        self.known.push(name);
        let mut found = self.given.iter().filter(|(given, _)| given == name);
        let value = found.next();
        if found.next().is_some() {
            return Err(ApiError::field(name, format!("`{name}` is given twice")));
        }
        value
            .map(|(_, text)| {
                text.parse().map_err(|error| ApiError::field(name, format!("`{name}` is `{text}`: {error}")))
            })
            .transpose()
    }

    /// The value of a parameter that must be there.
    pub(super) fn need<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &'static str,
        example: &str,
    ) -> Result<T, ApiError> {
        self.get(name)?.ok_or_else(|| ApiError::field(name, format!("`{name}` is missing: give ?{name}={example}")))
    }

    /// `pooling` and `tokens`.
    pub(super) fn recipe(&mut self) -> Result<Recipe, ApiError> {
        let (pooling, tokens): (Option<Pooling>, Option<Tokens>) = (self.get("pooling")?, self.get("tokens")?);
        Ok(Recipe { pooling: pooling.unwrap_or_default(), tokens: tokens.unwrap_or_default() })
    }

    /// A concept's expertise in `model`.
    pub(super) fn subject(&mut self, model: ModelName, name: &'static str) -> Result<ConceptRef, ApiError> {
        let concept: ConceptId = self.need(name, "sense/football")?;
        Ok(ConceptRef { model, concept, recipe: self.recipe()? })
    }

    /// `top` or `min_ap`.
    pub(super) fn experts(&mut self) -> Result<Experts, ApiError> {
        match (self.get("top")?, self.min_ap()?) {
            (Some(_), Some(_)) => Err(ApiError::field("min_ap", "`top` and `min_ap` exclude each other: give one")),
            (_, Some(least)) => Ok(Experts::MinAp(least)),
            (top, None) => Ok(Experts::Top(top.unwrap_or(DEFAULT_TOP))),
        }
    }

    /// An average precision.
    pub(super) fn min_ap(&mut self) -> Result<Option<f32>, ApiError> {
        let least: Option<f32> = self.get("min_ap")?;
        match least {
            Some(least) if !(0.0..=1.0).contains(&least) => {
                Err(ApiError::field("min_ap", "`min_ap`: an average precision lies between 0 and 1"))
            }
            least => Ok(least),
        }
    }

    /// A number of at least one.
    pub(super) fn count(&mut self, name: &'static str, default: u32) -> Result<u32, ApiError> {
        match self.get(name)? {
            Some(0) => Err(ApiError::field(name, format!("`{name}` must be at least 1"))),
            count => Ok(count.unwrap_or(default)),
        }
    }

    /// Everything was asked for.
    ///
    /// # Errors
    /// If something else was given.
    pub(super) fn end(self) -> Result<(), ApiError> {
        match self.given.iter().find(|(name, _)| !self.known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let known = self.known.join(", ");
                Err(ApiError::field(name.as_str(), format!("there is no parameter `{name}` here; there are: {known}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::read(Some(query))
    }

    fn param(result: Result<impl Sized, ApiError>) -> serde_json::Value {
        result.err().unwrap().body()["error"]["param"].clone()
    }

    #[test]
    fn parameters_are_read_and_the_others_named() {
        let mut some = params("top=3&pooling=mean&tops=4");
        assert_eq!(some.experts().unwrap(), Experts::Top(3));
        assert_eq!(some.recipe().unwrap().pooling, Pooling::Mean);
        assert_eq!(param(some.end()), "tops");
        assert_eq!(params("").experts().unwrap(), Experts::Top(50));
        assert_eq!(params("min_ap=0.5").experts().unwrap(), Experts::MinAp(0.5));
        assert_eq!(param(params("min_ap=1.5").min_ap()), "min_ap");
        assert_eq!(param(params("min_ap=0.5&top=1").experts()), "min_ap");
        assert_eq!(param(params("limit=0").count("limit", 5)), "limit");
        assert_eq!(param(params("a=1&a=2").get::<u32>("a")), "a");
        assert_eq!(param(params("").subject("m".parse().unwrap(), "concept")), "concept");
        assert_eq!(param(params("top=x").experts()), "top");
    }
}
