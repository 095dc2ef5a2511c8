//! Concepts: labelled sentence sets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::BadId;

/// A concept's name within its group: `sense/football`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConceptId {
    group: String,
    name: String,
}

impl ConceptId {
    /// Puts a group and a name together.
    ///
    /// # Errors
    /// If either is empty or longer than 200 bytes, holds a slash or a control character, or is `.` or `..`
    /// (ids become file names in exports).
    pub fn new(group: impl Into<String>, name: impl Into<String>) -> Result<Self, BadId> {
        let (group, name) = (group.into(), name.into());
        let good = |part: &str| {
            !part.is_empty()
                && part.len() <= 200
                && part != "."
                && part != ".."
                && !part.chars().any(|c| c == '/' || c == '\\' || c.is_control())
        };
        if good(&group) && good(&name) {
            Ok(Self { group, name })
        } else {
            Err(BadId { what: "a concept (GROUP/NAME, for example sense/football)", text: format!("{group}/{name}") })
        }
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The name within the group.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ConceptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

impl FromStr for ConceptId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match text.split_once('/') {
            Some((group, name)) => Self::new(group, name),
            None => Err(BadId { what: "a concept (GROUP/NAME, for example sense/football)", text: text.to_owned() }),
        }
    }
}

/// A concept c: sentences that contain it (b = 1) and sentences that do not (b = 0).
///
/// A sentence counts as often as it stands in a class, and may stand in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concept {
    /// Group and name.
    pub id: ConceptId,
    /// Sentences with b = 1.
    pub positive: Vec<String>,
    /// Sentences with b = 0.
    pub negative: Vec<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_round_trip(group in "[a-z][a-z0-9 _.:-]{0,12}", name in "[a-z][a-z0-9 _.:-]{0,12}") {
            let id = ConceptId::new(group, name).unwrap();
            prop_assert_eq!(id.to_string().parse::<ConceptId>(), Ok(id));
        }
    }

    #[test]
    fn ids_that_could_leave_a_folder_are_refused() {
        for text in ["football", "a/", "/b", "a/b/c", "../x", "a/..", "a/b\n"] {
            assert!(text.parse::<ConceptId>().is_err(), "{text}");
        }
    }
}
