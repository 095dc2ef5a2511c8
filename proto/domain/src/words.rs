//! Closed choices that are spelled the same on the command line, on the wire and in tables.

/// A word that is none of the choices.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not one of {choices}")]
pub struct BadChoice {
    /// The text as given.
    pub text: String,
    /// What may stand there.
    pub choices: &'static str,
}

/// Gives an enum one word per variant: `Display` and `FromStr` that agree.
macro_rules! words {
    ($type:ident, $choices:literal, $($variant:ident = $word:literal),+) => {
        impl std::str::FromStr for $type {
            type Err = $crate::words::BadChoice;

            fn from_str(text: &str) -> Result<Self, $crate::words::BadChoice> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::words::BadChoice { text: text.to_owned(), choices: $choices }),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}
pub(crate) use words;
