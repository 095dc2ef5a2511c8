//! A token in the clear.

/// What its bearer shows; it has no `Display`, and its `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The token itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it where it is only compared. Comparing hashes takes the same time wherever they differ.
    pub(super) fn hash(&self) -> blake3::Hash {
        blake3::hash(self.0.as_bytes())
    }
}

/// In the same time, wherever two differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
