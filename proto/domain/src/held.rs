//! Resolved parts of a request that whoever receives them keeps, so that later they need only be named.

use std::{fmt, sync::Arc};

/// The name of a content: BLAKE3 of all of it, 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 16]);

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentHash(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// What has a name that follows from all of it.
pub trait Content {
    /// The name: equal contents have equal ones, others have others.
    fn hash(&self) -> ContentHash;
}

/// Hashes a content part by part.
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// For contents of one kind; those of other kinds never get the same name.
    pub fn new(kind: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.text(kind);
        hasher
    }

    /// Adds a text; with its length, so that no two texts run into another two.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// Adds a number.
    pub fn number(&mut self, number: u32) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// The name.
    pub fn finish(&self) -> ContentHash {
        let mut hash = [0; 16];
        hash.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        ContentHash(hash)
    }
}

/// A part of a request: itself, or the name of one that the receiver holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Given<T> {
    /// All of it; the receiver keeps it.
    Whole(Arc<T>),
    /// Its name.
    Held(ContentHash),
}

impl<T: Content> Given<T> {
    /// All of `content`.
    pub fn whole(content: T) -> Self {
        Self::Whole(Arc::new(content))
    }

    /// The name of what is given or meant.
    pub fn hash(&self) -> ContentHash {
        match self {
            Self::Whole(content) => content.hash(),
            Self::Held(hash) => *hash,
        }
    }
}
