//! Every id is a type, so that a job is never taken for a worker.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An id that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not {what}")]
pub struct BadId {
    /// What was expected, with its form.
    pub what: &'static str,
    /// The text as given.
    pub text: String,
}

/// The content of a model: BLAKE3 over its weights, config and tokenizer. The index is keyed by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelHash(pub [u8; 32]);

impl ModelHash {
    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for ModelHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModelHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelHash({})", self.short())
    }
}

impl FromStr for ModelHash {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId { what: "a model hash (64 hexadecimal digits)", text: text.to_owned() };
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

/// The name users give a model (`gpt2`): letters, digits, `.`, `_`, `-` and `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ModelName {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if text.is_empty() || text.len() > 200 || !text.chars().all(plain) {
            let what = "a model name (letters, digits, `.`, `_`, `-`, `/`; at most 200)";
            return Err(BadId { what, text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ModelName {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0
    }
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix($prefix)
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or_else(|| BadId { what: $what, text: text.to_owned() })
            }
        }
    };
}

numbered!(
    /// A mining job, `job-7`.
    JobId, "job-", "a job id (job-7)"
);
numbered!(
    /// A part of a job that one worker does, `shard-0`; numbered within its job.
    ShardId, "shard-", "a shard id (shard-0)"
);
numbered!(
    /// A registered worker, `worker-3`.
    WorkerId, "worker-", "a worker id (worker-3)"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_do_not_mix() {
        assert_eq!("job-7".parse(), Ok(JobId(7)));
        assert_eq!(JobId(7).to_string(), "job-7");
        assert!("worker-7".parse::<JobId>().is_err());
        let hash = ModelHash(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("xyz".parse::<ModelHash>().is_err());
        assert!("a b".parse::<ModelName>().is_err());
    }
}
